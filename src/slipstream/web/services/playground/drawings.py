"""Asking for drawings, and looking at them."""

from __future__ import annotations

import re
import time
from calendar import timegm
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from slipstream.core.errors import SlipstreamError
from slipstream.drawings.progress import DrawingProgress, Process, State, cancel, living_process, read_progress
from slipstream.drawings.request import DrawingRequest, read_request
from slipstream.drawings.room import Drawing, Room, hand_in, is_id, list_ids, remove, room_in, waiting
from slipstream.launch.drawing import ensure_drawing_process
from slipstream.reports.pictures import picture_text
from slipstream.web.problems import RefusedError, missing
from slipstream.web.services.playground.bases import base_of
from slipstream.web.services.playground.devices import choose_device, free_device
from slipstream.web.services.playground.form import DrawingForm, LoraForm
from slipstream.web.services.playground.loras import lora_path, trigger_of
from slipstream.web.services.playground.sheets import Layout, settled, sheet_of
from slipstream.web.settings import StudioSettings

MOST_WAITING = 32
_PICTURE = re.compile(r"(\d{4})\.png")


@dataclass(frozen=True)
class DrawingView:
    """A drawing as lists and pages show it. Picture number = row * number of columns + column."""

    id: str
    created: float
    """Seconds since 1970."""
    state: State
    phase: str
    done: int
    total: int
    unit: str
    detail: str
    message: str
    seconds: float
    loading_seconds: float
    layout: Layout
    """`pairs`: the first row is with the LoRA, the second without."""
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_axis: str
    column_axis: str
    device: str
    ready: tuple[int, ...]
    """Numbers of the pictures that are there."""
    form: dict[str, Any]
    """What was asked for, with steps, guidance and seed filled in: send it again for the same pictures."""


@dataclass(frozen=True)
class DrawingPage:
    """Some drawings, the newest first, and whether there are older ones."""

    drawings: tuple[DrawingView, ...]
    more: bool


@dataclass(frozen=True)
class Desk:
    """The process that draws, None where there is none, and how many drawings wait for it."""

    process: Process | None
    num_waiting: int


def room_of(settings: StudioSettings) -> Room:
    """The studio's room of drawings."""
    return room_in(settings.home)


def ask_for(settings: StudioSettings, form: DrawingForm) -> DrawingView:
    """Hand a drawing in, and start the process that draws it where none lives.

    Raises:
        RefusedError: a LoRA is missing (404), the base or a value cannot be (422), the GPU is busy (409), or too many
            drawings wait (429).
        RunError: the room cannot be written, or no process started.
    """
    room = room_of(settings)
    if len(waiting(room)) >= MOST_WAITING:
        raise RefusedError(
            429, f"{MOST_WAITING} drawings wait already", where="playground", fix="wait, or cancel some of them."
        )
    base = base_of(form, settings.runs_dir)
    device = choose_device(settings, form.device, share=form.share_gpu)
    form = settled(form)
    paths: dict[tuple[str, str], Path] = {}

    def resolve(lora: LoraForm) -> Path:
        key = lora.run, lora.file
        if key not in paths:
            paths[key] = lora_path(settings.runs_dir, settings.loras_dir, lora)
        return paths[key]

    word = form.trigger_word
    if word is None:
        words = (trigger_of(settings.runs_dir, lora, resolve(lora)) for lora in form.loras)
        word = next((one for one in words if one), "")
    form = form.model_copy(update={"trigger_word": word})
    sheet = sheet_of(form, word, resolve)
    about = {
        "form": form.model_dump(mode="json"), "layout": sheet.layout, "rows": sheet.rows, "columns": sheet.columns,
        "row_axis": form.rows.kind if form.rows else "", "column_axis": form.columns.kind if form.columns else "seed",
    }  # fmt: skip
    drawing = hand_in(room, DrawingRequest(base, device, sheet.pictures, about))
    ensure_drawing_process(room, device)
    return _view(room, drawing, living_process(room))


def desk(settings: StudioSettings) -> Desk:
    """Who draws now."""
    room = room_of(settings)
    return Desk(living_process(room), len(waiting(room)))


def go_on(settings: StudioSettings) -> bool:
    """Start a process for drawings that wait where none lives, if their device is free; returns whether one started."""
    room = room_of(settings)
    first = next(iter(waiting(room)), None)
    if first is None or living_process(room) is not None:
        return False
    try:
        request = read_request(first.request)
        share = bool(request.about.get("form", {}).get("share_gpu"))
        if not share and not free_device(settings, request.device):
            return False
        device = request.device
    except SlipstreamError:
        device = "cpu"  # a process tells what is wrong with it
    return ensure_drawing_process(room, device)


def give_back(settings: StudioSettings) -> bool:
    """Ask the process to end after its step, which frees its device; returns whether one lives."""
    room = room_of(settings)
    if living_process(room) is None:
        return False
    room.leave.touch()
    return True


def list_drawings(settings: StudioSettings, *, before: str = "", limit: int = 24) -> DrawingPage:
    """Drawings older than `before`, the newest first."""
    room = room_of(settings)
    ids = [one for one in list_ids(room) if not before or one < before]
    living = living_process(room)
    views = []
    for drawing_id in ids[:limit]:
        try:
            views.append(_view(room, room.drawing(drawing_id), living))
        except SlipstreamError:
            continue  # deleted meanwhile, or nothing that can be shown
    return DrawingPage(tuple(views), len(ids) > limit)


def view_of(settings: StudioSettings, drawing_id: str) -> DrawingView:
    """A drawing as it is now.

    Raises:
        RefusedError: there is none (404).
    """
    room = room_of(settings)
    return _view(room, find_drawing(settings, drawing_id), living_process(room))


def find_drawing(settings: StudioSettings, drawing_id: str) -> Drawing:
    """The drawing of that name.

    Raises:
        RefusedError: there is none (404).
    """
    drawing = room_of(settings).drawing(drawing_id)
    if not is_id(drawing_id) or drawing.path.is_symlink() or not drawing.request.is_file():
        raise missing("drawing of this name", where=drawing_id[:40], fix="see the list of drawings.")
    return drawing


def picture_of(settings: StudioSettings, drawing_id: str, number: int) -> Path:
    """A picture's file.

    Raises:
        RefusedError: there is none (404).
    """
    path = find_drawing(settings, drawing_id).picture(number)
    if path.is_symlink() or not path.is_file():
        raise missing("such picture", where=f"{drawing_id}, {number}", fix="see the drawing's list of pictures.")
    return path


def facts_of(path: Path) -> dict[str, str]:
    """How a picture was drawn, as its file tells."""
    return picture_text(path)


def delete_picture(settings: StudioSettings, drawing_id: str, number: int) -> None:
    """Delete one picture; the last one takes its drawing along.

    Raises:
        RefusedError: there is none (404), or the drawing is not done (409).
    """
    path = picture_of(settings, drawing_id, number)
    view = view_of(settings, drawing_id)
    _require_done(view)
    path.unlink(missing_ok=True)
    if view.ready == (number,):
        remove(room_of(settings), find_drawing(settings, drawing_id))


def delete_drawing(settings: StudioSettings, drawing_id: str) -> None:
    """Delete a drawing with its pictures; one that is being drawn stops.

    Raises:
        RefusedError: there is none (404).
    """
    remove(room_of(settings), find_drawing(settings, drawing_id))


def cancel_drawing(settings: StudioSettings, drawing_id: str) -> DrawingView:
    """Draw no more of it; what is drawn stays.

    Raises:
        RefusedError: there is none (404), or it is over (409).
    """
    view = view_of(settings, drawing_id)
    if view.state not in ("waiting", "drawing"):
        raise RefusedError(409, f"the drawing is {view.state} already", where=drawing_id, fix="ask for another one.")
    room = room_of(settings)
    cancel(room, room.drawing(drawing_id))
    return view_of(settings, drawing_id)


def _require_done(view: DrawingView) -> None:
    if view.state in ("waiting", "drawing"):
        raise RefusedError(409, "the drawing is not done", where=view.id, fix="cancel it first, or wait.")


def _view(room: Room, drawing: Drawing, living: Process | None) -> DrawingView:
    device, about = _asked(drawing.request)
    progress = read_progress(room, drawing, living)
    try:
        names = [path.name for path in drawing.path.iterdir()]
    except OSError as error:
        raise missing("drawing of this name", where=drawing.id) from error
    ready = sorted(int(found[1]) for name in names if (found := _PICTURE.fullmatch(name)))
    shown = {name: value for name, value in asdict(_rounded(progress)).items() if name in _FROM_PROGRESS}
    return DrawingView(
        id=drawing.id, created=_created(drawing.id), device=device, ready=tuple(ready), layout=about["layout"],
        rows=tuple(about["rows"]), columns=tuple(about["columns"]), row_axis=about["row_axis"],
        column_axis=about["column_axis"], form=dict(about["form"]), **shown,
    )  # fmt: skip


_FROM_PROGRESS = (
    "state", "phase", "done", "total", "unit", "detail", "message", "seconds", "loading_seconds",
)  # fmt: skip


def _rounded(progress: DrawingProgress) -> DrawingProgress:
    return replace(progress, seconds=round(progress.seconds, 2), loading_seconds=round(progress.loading_seconds, 2))


@lru_cache(maxsize=512)
def _asked(path: Path) -> tuple[str, Mapping[str, Any]]:
    """Device and what the door wrote down of a request, which never changes."""
    request = read_request(path)
    if not {"layout", "rows", "columns", "row_axis", "column_axis", "form"} <= set(request.about):
        raise missing("drawing of this name", where=path.parent.name)
    return request.device, request.about


def _created(drawing_id: str) -> float:
    day, clock, micros, _ = drawing_id.split("-")
    return timegm(time.strptime(day + clock, "%Y%m%d%H%M%S")) + int(micros) / 1e6

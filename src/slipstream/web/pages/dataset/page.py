"""The page of one dataset: what is in it, and everything that is done with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlencode

from nicegui import background_tasks, ui

from slipstream.core.errors import SlipstreamError
from slipstream.web.pages.dataset.bulk import open_bulk
from slipstream.web.pages.dataset.captioning import captioning_card, open_captioning
from slipstream.web.pages.dataset.checks import open_check
from slipstream.web.pages.dataset.editor import open_editor
from slipstream.web.pages.dataset.listed import listed_card
from slipstream.web.pages.dataset.looks import add_looks
from slipstream.web.pages.dataset.shown import Shown
from slipstream.web.pages.dataset.trash import open_trash, remove_selected
from slipstream.web.pages.dataset.uploading import upload_zone
from slipstream.web.parts.ask import ask_text, confirm
from slipstream.web.parts.cards import empty_state
from slipstream.web.parts.frame import frame
from slipstream.web.parts.notices import tell, told
from slipstream.web.parts.picture_grid import PictureGrid
from slipstream.web.parts.say import say
from slipstream.web.parts.upload_zone import UploadZone
from slipstream.web.services.captioning_jobs import require_no_captioning
from slipstream.web.services.dataset_checks import last_check
from slipstream.web.services.dataset_index import SHOWS
from slipstream.web.services.dataset_notes import change_notes, read_notes
from slipstream.web.services.datasets import (
    DatasetSummary,
    find_dataset,
    remove_dataset,
    rename_dataset,
    summarize,
)
from slipstream.web.studio import Studio

_MIB = 1024**2


def register_dataset(studio: Studio) -> None:
    """Declare the page."""

    @ui.page("/datasets/{name}")
    async def dataset(name: str) -> None:
        add_looks()
        try:
            folder = find_dataset(studio.settings.datasets_dir, name)
            summary = await asyncio.to_thread(summarize, folder)
        except SlipstreamError:
            with (
                frame(studio, "datasets", title=say("dataset.missing")),
                empty_state("search_off", say("dataset.missing"), say("dataset.missing_text")),
            ):
                ui.link(say("dataset.back"), "/datasets")
            return
        with frame(studio, "datasets", title=folder.name, wide=True):
            _build(studio, folder, summary)


def _build(studio: Studio, folder: Path, summary: DatasetSummary) -> None:
    """The page's parts. They are built once and change in place: what is open above them, or has the focus, stays."""
    notes = read_notes(folder, studio.preferences.read().default_trigger_word)
    shown = Shown(studio, folder.name, folder, notes, total=summary.num_pictures)
    zone = upload_zone(shown)
    update_head = _head(shown, zone)
    captioning_card(shown)
    listed_card(shown)
    with ui.element("div").classes("s-tools") as tools:
        counter = _filters(shown)
        update_selection = _selection(shown)
    empty = _empty(zone)

    def on_selection(files: Sequence[str]) -> None:
        shown.selected = tuple(files)
        update_selection()

    def on_loaded(total: int) -> None:
        counter.set_text(say("dataset.shown", count=total))

    async def on_open(file: str) -> None:
        await open_editor(shown, file)

    shown.grid = PictureGrid(shown.source(), shown.api, on_open=on_open, on_selection=on_selection, on_loaded=on_loaded)

    def update(now: DatasetSummary) -> None:
        shown.total = now.num_pictures
        update_head(now)
        update_selection()
        tools.set_visibility(now.num_pictures > 0)
        empty.set_visibility(now.num_pictures == 0)

    async def changed() -> None:
        now = await asyncio.to_thread(summarize, folder)
        with tools:
            update(now)

    update(summary)
    shown.on_change = lambda: _later(changed())


def _later(work: Coroutine[None, None, None]) -> None:
    background_tasks.create(work)


def _head(shown: Shown, zone: UploadZone) -> Callable[[DatasetSummary], None]:
    """The row of figures and actions; returns what updates it."""
    wanted = {"dataset": shown.name}
    with ui.row().classes("s-bar-row"):
        ui.link(say("dataset.back"), "/datasets").classes("s-back")
        figures = ui.label("").classes("s-note")
        ui.space()
        with ui.element("div").classes("s-actions"):
            _add_button(zone)
            actions = [
                _outlined("dataset.caption", "auto_awesome", lambda: open_captioning(shown)),
                _outlined("dataset.check", "fact_check", lambda: open_check(shown)),
                _outlined("dataset.train", "model_training", lambda: ui.navigate.to(f"/new?{urlencode(wanted)}")),
            ]
            _more(shown)

    def update(now: DatasetSummary) -> None:
        share = f"{100 * now.num_captions / now.num_pictures:.0f}" if now.num_pictures else "0"
        size = f"{now.size_bytes / _MIB:,.1f}"
        figures.set_text(say("dataset.figures", count=now.num_pictures, percent=share, size=size))
        for part in (figures, *actions):
            part.set_visibility(now.num_pictures > 0)

    return update


def _outlined(key: str, icon: str, act: Callable[[], object]) -> ui.button:
    return ui.button(say(key), icon=icon, on_click=act).props("outline no-caps")


def _add_button(zone: UploadZone) -> None:
    with ui.button(say("dataset.add"), icon="upload").props("unelevated no-caps"), ui.menu():
        ui.menu_item(say("dataset.add_files")).on("click", js_handler=zone.opens(folder=False))
        ui.menu_item(say("dataset.add_folder")).on("click", js_handler=zone.opens(folder=True))


def _more(shown: Shown) -> None:
    root = shown.studio.settings.datasets_dir

    def rename(name: str) -> None:
        require_no_captioning(shown.studio.settings, shown.folder)
        made = rename_dataset(root, shown.name, name)
        ui.navigate.to(f"/datasets/{quote(made.name)}")

    def remove() -> None:
        require_no_captioning(shown.studio.settings, shown.folder)
        remove_dataset(root, shown.name)
        ui.navigate.to("/datasets")

    def set_trigger(word: str) -> None:
        shown.notes = change_notes(shown.folder, shown.notes, trigger_word=word)
        tell(say("dataset.saved"))

    def ask_trigger() -> None:
        ask_text(
            say("dataset.trigger"), say("dataset.trigger_label"), say("dataset.save"), set_trigger,
            value=shown.notes.trigger_word,
        )  # fmt: skip

    def ask_rename() -> None:
        ask_text(say("datasets.rename"), say("datasets.name"), say("datasets.rename"), rename, value=shown.name)

    def ask_remove() -> None:
        title, text = say("datasets.remove_title", name=shown.name), say("datasets.remove_text", count=shown.total)
        confirm(title, text, say("datasets.remove"), remove)

    with ui.button(icon="more_vert").props(f'flat round aria-label="{say("dataset.more")}"'), ui.menu():
        ui.menu_item(say("dataset.trigger"), on_click=ask_trigger)
        ui.menu_item(say("dataset.trash"), on_click=lambda: open_trash(shown))
        ui.menu_item(say("datasets.rename"), on_click=ask_rename)
        ui.menu_item(say("datasets.remove"), on_click=ask_remove)


def _filters(shown: Shown) -> ui.label:
    """The row of filters; returns the label that counts what is shown."""

    def show(**values: object) -> None:
        shown.filter = replace(shown.filter, **values)  # type: ignore[arg-type]
        shown.reload()
        if shown.filter.show in ("duplicates", "findings") and last_check(shown.folder) is None:
            open_check(shown)

    side = min(shown.notes.resolutions)
    options = {kind: say(f"dataset.show_{kind}", side=side) if kind == "small" else say(f"dataset.show_{kind}")
               for kind in SHOWS}  # fmt: skip
    with ui.row().classes("s-bar-row"):
        kind = ui.select(
            options, value="all", label=say("dataset.show"), on_change=lambda event: show(show=event.value)
        )
        kind.props("outlined dense").classes("s-filter")
        search = ui.input(say("dataset.search"), on_change=lambda event: show(text=event.value or ""))
        search.props('outlined dense clearable debounce="350"').classes("s-filter")
        counter = ui.label("").classes("s-note").props('role="status"')
        ui.space()
        _flat("dataset.edit_all", "edit_note", lambda: open_bulk(shown))
        _flat("dataset.select_all", "select_all", lambda: _grid(shown).select_all())
    return counter


def _selection(shown: Shown) -> Callable[[], None]:
    """What is done with selected pictures, and the way back; returns what updates it."""

    def undo() -> None:
        with told():
            tell(say("dataset.undone", count=shown.undo()))

    with ui.row().classes("s-selection") as row:
        count = ui.label("").classes("s-selected").props('role="status"')
        actions = [
            _flat("dataset.edit_captions", "edit_note", lambda: open_bulk(shown)),
            _flat("dataset.caption", "auto_awesome", lambda: open_captioning(shown)),
            _flat("dataset.remove", "delete", lambda: remove_selected(shown)),
            _flat("dataset.select_none", "close", lambda: _grid(shown).select_none()),
        ]
        ui.space()
        back = _flat("dataset.undo", "undo", undo)

    def update() -> None:
        count.set_text(say("dataset.selected", count=len(shown.selected)))
        for part in (count, *actions):
            part.set_visibility(bool(shown.selected))
        back.set_visibility(bool(shown.changes))
        row.set_visibility(bool(shown.selected or shown.changes))

    return update


def _flat(key: str, icon: str, act: Callable[[], object]) -> ui.button:
    return ui.button(say(key), icon=icon, on_click=act).props("flat dense no-caps")


def _grid(shown: Shown) -> PictureGrid:
    assert shown.grid is not None
    return shown.grid


def _empty(zone: UploadZone) -> ui.element:
    with (
        ui.element("section").classes("s-card s-drop-here") as section,
        empty_state("add_photo_alternate", say("dataset.empty"), say("dataset.empty_text")),
    ):
        files = ui.button(say("dataset.add_files"), icon="upload").props("unelevated no-caps")
        files.on("click", js_handler=zone.opens(folder=False))
        folder = ui.button(say("dataset.add_folder"), icon="drive_folder_upload").props("outline no-caps")
        folder.on("click", js_handler=zone.opens(folder=True))
    return section

"""How far a drawing is, and who draws: `progress.json` and `process.json`, written by the process alone."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from slipstream.core.atomic import write_json
from slipstream.core.file_lock import hold
from slipstream.drawings.room import Drawing, Room, take

State = Literal["waiting", "drawing", "finished", "stopped", "failed"]
PATIENCE_SECONDS = 60.0
"""How long a process has to end when its device is wanted."""
_Value = TypeVar("_Value", "DrawingProgress", "Process")


@dataclass(frozen=True)
class DrawingProgress:
    """A drawing's state. `done` of `total` counts within `phase`, in `unit` ("MiB", or "" for things); `process` is the
    name of the process that draws or drew it."""

    state: State = "waiting"
    phase: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    detail: str = ""
    pictures: int = 0
    """How many are drawn."""
    message: str = ""
    """Why it failed, as a door prints it."""
    seconds: float = 0.0
    """Since it was begun; loading included."""
    loading_seconds: float = 0.0
    """How many of them went by before the first step."""
    process: str = ""


@dataclass(frozen=True)
class Process:
    """The process that draws: `name` is its own for ever, `base` what it has loaded, `drawing` what it is at."""

    name: str
    pid: int
    device: str
    started: float
    state: Literal["starting", "drawing", "idle"] = "starting"
    base: str = ""
    drawing: str = ""
    memory_gib: float | None = None
    leaves_at: float | None = None
    """When it ends if nobody asks for anything more; seconds since 1970."""


def write_process(room: Room, process: Process) -> None:
    """Replace `process.json`."""
    write_json(room.process, dataclasses.asdict(process), durable=False)


def last_process(room: Room) -> Process | None:
    """The process that drew here last, alive or not."""
    return _read(room.process, Process)


def living_process(room: Room) -> Process | None:
    """The process that lives now, if one does."""
    return last_process(room) if is_alive(room) else None


def is_alive(room: Room) -> bool:
    """Whether a process holds the room."""
    if not room.lock.exists():
        return False
    with suppress(BlockingIOError), hold(room.lock):
        return False
    return True


def write_progress(drawing: Drawing, progress: DrawingProgress) -> None:
    """Replace `progress.json` (not flushed to the disk: it is written several times a second)."""
    write_json(drawing.progress, dataclasses.asdict(progress), durable=False)


def read_progress(room: Room, drawing: Drawing, living: Process | None) -> DrawingProgress:
    """How far a drawing is. One that a process was at which lives no more has failed, whatever its file says."""
    progress = _read(drawing.progress, DrawingProgress) or DrawingProgress()
    if progress.state == "drawing" and (living is None or living.name != progress.process):
        return dataclasses.replace(progress, state="failed", message=why_it_died(room, progress.process))
    waits = progress.state != "waiting" or (room.waiting / drawing.id).exists()
    return progress if waits else dataclasses.replace(progress, state="failed", message=_NEVER_BEGUN)


def cancel(room: Room, drawing: Drawing) -> None:
    """Draw no more of it: what waits is not begun, what is being drawn stops after its step."""
    if take(room, drawing):
        write_progress(drawing, DrawingProgress("stopped"))
    else:
        drawing.cancel.touch()


def make_room(room: Room, device: str) -> bool:
    """Ask a process that draws on that device to end after its step, and end one that does not within a minute; returns
    whether the device is free of it. What it was drawing waits again."""
    process = living_process(room)
    if process is None or process.device != device:
        return True
    try:
        asked = room.leave.stat().st_mtime
    except OSError:
        room.leave.touch()
        return False
    if time.time() - max(asked, process.started) > PATIENCE_SECONDS and is_alive(room):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
    return False


_NEVER_BEGUN = "the drawing process ended as it began this\n  fix: ask for it again."


def why_it_died(room: Room, name: str) -> str:
    """What is known of the end of a process, for a person."""
    code = _exit_code(room, name)
    fix = "draw again: a new process starts. If it comes again, draw smaller, fewer at once, or in float8."
    if code == -9:
        why = "the drawing process was killed (signal 9): by somebody, or by the system because memory ran out"
    elif code is not None and code < 0:
        why = f"the drawing process crashed (signal {-code})"
    else:
        why = "the drawing process ended in the middle of this"
    return f"{why}; its log is {room.log}\n  fix: {fix}"


def note_exit(room: Room, name: str, code: int) -> None:
    """Write down how a process ended; by its parent."""
    with suppress(Exception):  # the folder may be gone: nobody will ask then
        write_json(room.path / "exit.json", {"name": name, "code": code}, durable=False)


def _exit_code(room: Room, name: str) -> int | None:
    try:
        value = json.loads((room.path / "exit.json").read_text(encoding="utf-8"))
        return int(value["code"]) if value["name"] == name else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read(path: Path, kind: type[_Value]) -> _Value | None:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name for field in dataclasses.fields(kind)}
        return kind(**{key: value for key, value in values.items() if key in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None

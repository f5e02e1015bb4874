"""The folder of drawings, one room with one process at a time, and a folder for each drawing in it.

A door makes a drawing's folder whole (`request.json` in it) and then its name in `waiting/`; the process takes the name
away when it begins and writes `progress.json` and the pictures, each atomically. Who dies leaves nothing half.
"""

from __future__ import annotations

import re
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slipstream.core.atomic import write_text
from slipstream.core.errors import RunError
from slipstream.drawings.request import DrawingRequest, request_to_json

_ID = re.compile(r"\d{8}-\d{6}-\d{6}-[0-9a-f]{4}")


@dataclass(frozen=True)
class Drawing:
    """A drawing's folder and the files in it."""

    path: Path

    @property
    def id(self) -> str:
        """Its name; names sort by time."""
        return self.path.name

    @property
    def request(self) -> Path:
        """What to draw; the door's, never changed."""
        return self.path / "request.json"

    @property
    def progress(self) -> Path:
        """How far it is; the process's."""
        return self.path / "progress.json"

    @property
    def cancel(self) -> Path:
        """A flag of the door: draw no more of it."""
        return self.path / "cancel"

    def picture(self, number: int) -> Path:
        """The picture of that number, counted from 0."""
        return self.path / f"{number:04d}.png"


@dataclass(frozen=True)
class Room:
    """The folder of all drawings."""

    path: Path

    @property
    def lock(self) -> Path:
        """Held by the process while it lives."""
        return self.path / ".lock"

    @property
    def process(self) -> Path:
        """Who draws here, and what it has loaded."""
        return self.path / "process.json"

    @property
    def log(self) -> Path:
        """What the process said."""
        return self.path / "log.txt"

    @property
    def leave(self) -> Path:
        """A flag: end soon, the device is wanted. Drawings that wait go on waiting."""
        return self.path / "leave"

    @property
    def waiting(self) -> Path:
        """The names of drawings that nobody has begun."""
        return self.path / "waiting"

    @property
    def drawings(self) -> Path:
        """The drawings' folders."""
        return self.path / "drawings"

    def drawing(self, drawing_id: str) -> Drawing:
        """The drawing of that name, there or not."""
        return Drawing(self.drawings / drawing_id)


def is_id(text: str) -> bool:
    """Whether a drawing can have that name."""
    return _ID.fullmatch(text) is not None


def hand_in(room: Room, request: DrawingRequest) -> Drawing:
    """Put a drawing into the room; the process draws it when it comes to it.

    Raises:
        DiskFullError: no space is left.
        RunError: the room cannot be written.
    """
    now = time.time_ns()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now // 10**9))
    drawing = room.drawing(f"{stamp}-{now // 1000 % 10**6:06d}-{secrets.token_hex(2)}")
    try:
        room.waiting.mkdir(parents=True, exist_ok=True, mode=0o700)
        drawing.path.mkdir(parents=True)
        write_text(drawing.request, request_to_json(request))
        put_back(room, drawing)
    except OSError as error:
        raise RunError(
            f"the drawing cannot be kept: {error}", where=str(room.path), fix="check the folder's rights."
        ) from error
    return drawing


def put_back(room: Room, drawing: Drawing) -> None:
    """The drawing waits (again)."""
    drawing.progress.unlink(missing_ok=True)
    (room.waiting / drawing.id).touch()


def take(room: Room, drawing: Drawing) -> bool:
    """Take the drawing from those that wait; False where it does not wait any more."""
    try:
        (room.waiting / drawing.id).unlink()
    except FileNotFoundError:
        return False
    return True


def waiting(room: Room) -> list[Drawing]:
    """The drawings that nobody has begun, the first asked for first; what has no request any more is forgotten."""
    try:
        names = sorted(path.name for path in room.waiting.iterdir())
    except OSError:
        return []
    found = []
    for name in names:
        drawing = room.drawing(name)
        if is_id(name) and drawing.request.is_file():
            found.append(drawing)
        else:
            with suppress(OSError):
                (room.waiting / name).unlink()
    return found


def list_ids(room: Room) -> list[str]:
    """The names of all drawings, the newest first."""
    try:
        return sorted((path.name for path in room.drawings.iterdir() if is_id(path.name)), reverse=True)
    except OSError:
        return []


def remove(room: Room, drawing: Drawing) -> None:
    """Delete a drawing with its pictures: first out of the way by one rename, so that no half of it is left."""
    take(room, drawing)
    aside = drawing.path.with_name(f".{drawing.id}.deleted-{secrets.token_hex(4)}")
    try:
        drawing.path.rename(aside)
    except FileNotFoundError:
        return
    shutil.rmtree(aside, ignore_errors=True)


def room_in(home: Path) -> Room:
    """The room of a studio's home folder."""
    return Room(home / "playground")

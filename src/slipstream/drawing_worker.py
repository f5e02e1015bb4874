"""The process that draws for the studio: `python -m slipstream.drawing_worker FOLDER DEVICE`.

It keeps the model loaded between drawings and ends when nobody has asked for anything for some minutes, which gives the
device back. It holds the folder's lock: there is one for each folder. Killed at any moment it leaves whole pictures, a
drawing that says that its process died, and drawings that wait for the next process.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Literal

from slipstream.core.errors import SlipstreamError
from slipstream.core.file_lock import hold
from slipstream.drawings.progress import (
    DrawingProgress,
    Process,
    last_process,
    read_progress,
    write_process,
    write_progress,
)
from slipstream.drawings.request import DrawingRequest, read_request
from slipstream.drawings.room import Drawing, Room, put_back, take, waiting
from slipstream.launch.drawing import IDLE_SECONDS, IDLE_VARIABLE, NAME_VARIABLE, ensure_drawing_process

if TYPE_CHECKING:
    from slipstream.training.drawing_desk import DrawingDesk

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1
_WRITE_SECONDS = 0.15
"""Progress is written at most so often."""
_LOCK_PATIENCE_SECONDS = 3.0
MIB = "MiB"
_IN_MIB = ("download", "load text encoder", "load transformer")
Why = Literal["cancelled", "leave", "ended"]


class _Stop(BaseException):
    """A drawing is not drawn to its end."""

    def __init__(self, why: Why) -> None:
        super().__init__(why)
        self.why = why


@dataclass
class Reporter:
    """Writes how far one drawing is, and looks whether it shall be stopped."""

    room: Room
    drawing: Drawing
    progress: DrawingProgress
    began: float = field(default_factory=time.monotonic)
    written: float = 0.0

    def log(self, line: str) -> None:
        """A line for the log."""
        log.info("%s", line)

    def phase(self, name: str, done: int, total: int) -> None:
        """A phase of loading, and how far it is."""
        self._stop_if_asked()
        unit = MIB if name in _IN_MIB else ""
        self.write(name != self.progress.phase, phase=name, done=done, total=total, unit=unit, detail="")

    def step(self, step: int, steps: int, at_once: int, out_of: int) -> None:
        """A step of some of the pictures begins."""
        self._stop_if_asked()
        first = {} if self.progress.loading_seconds else {"loading_seconds": self.seconds}
        detail = f"{step}/{steps}" + (f" x {at_once}" if at_once > 1 else "")
        done = self.progress.pictures
        self.write(bool(first), phase="draw", done=done, total=out_of, unit="", detail=detail, **first)

    def drawn(self, count: int) -> None:
        """So many pictures are there."""
        self.write(True, pictures=count, done=count)

    @property
    def seconds(self) -> float:
        """Since it was begun."""
        return round(time.monotonic() - self.began, 3)

    def write(self, now: bool, **changes: object) -> None:
        """Write it down; not `now`: only where the last time was long enough ago."""
        self.progress = replace(self.progress, seconds=self.seconds, **changes)  # type: ignore[arg-type]
        if now or time.monotonic() - self.written >= _WRITE_SECONDS:
            self.written = time.monotonic()
            try:
                write_progress(self.drawing, self.progress)
            except SlipstreamError:
                if self.drawing.request.exists():  # else it was deleted meanwhile, and nobody asks any more
                    raise

    def _stop_if_asked(self) -> None:
        if self.drawing.cancel.exists() or not self.drawing.request.exists():
            raise _Stop("cancelled")
        if self.room.leave.exists():
            raise _Stop("leave")


@dataclass
class Artist:
    """The process: who it is, and the desk with the loaded model."""

    room: Room
    me: Process
    idle_seconds: float
    desk: DrawingDesk | None = None

    def work(self) -> str | None:
        """Draw what waits until there has been nothing for long; returns the device that another process shall go on
        on, None where nothing waits or the device is wanted by others."""
        asked = time.monotonic()
        while not self.room.leave.exists() and self.room.path.is_dir():
            drawing = next(iter(waiting(self.room)), None)
            if drawing is not None:
                device = _device_of(drawing)
                if device not in (None, self.me.device):
                    return device
                self._draw(drawing)
                asked = time.monotonic()
                self._tell(state="idle", drawing="", leaves_at=time.time() + self.idle_seconds)
            elif time.monotonic() - asked >= self.idle_seconds:
                return None
            else:
                time.sleep(_LOOK_SECONDS)
        return None

    def _tell(self, **changes: object) -> None:
        self.me = replace(self.me, **changes)  # type: ignore[arg-type]
        write_process(self.room, self.me)

    def _draw(self, drawing: Drawing) -> None:
        """One drawing, to its end or to an error that its progress tells."""
        reporter = Reporter(self.room, drawing, DrawingProgress("drawing", process=self.me.name))
        # in this order: whoever dies in between leaves a drawing that says so
        reporter.write(True)
        self._tell(state="drawing", drawing=drawing.id, leaves_at=None)
        if not take(self.room, drawing):
            return
        try:
            request = read_request(drawing.request)
            self._on_the_desk(request, reporter)
            reporter.write(True, state="finished", phase="", detail="")
        except _Stop as stop:
            self._stopped(stop.why, reporter)
        except SlipstreamError as error:
            reporter.write(True, state="failed", message=str(error))
        except Exception as error:
            log.exception("drawing %s failed", drawing.id)
            self.desk = None  # nobody knows what it left there
            message = f"an unexpected error: {error!r}; the traceback is in {self.room.log}"
            reporter.write(True, state="failed", message=message)

    def _on_the_desk(self, request: DrawingRequest, reporter: Reporter) -> None:
        reporter.phase("start", 0, 0)
        from slipstream.training.drawing_desk import DrawingDesk

        if self.desk is None:
            self.desk = DrawingDesk("cpu" if self.me.device == "cpu" else "cuda")
        drawn = self.desk.draw(request, reporter.drawing.picture, reporter)
        for count, _ in enumerate(drawn, start=1):
            reporter.drawn(count)
        self._tell(base=request.base.model, memory_gib=self.desk.memory_gib())

    def _stopped(self, why: Why, reporter: Reporter) -> None:
        if why == "leave":
            reporter.log("the device is wanted: this drawing waits again")
            put_back(self.room, reporter.drawing)
        elif reporter.drawing.request.exists():
            reporter.write(True, state="stopped", phase="", detail="")
        if why == "ended":
            raise _Stop("ended")


def _device_of(drawing: Drawing) -> str | None:
    try:
        return read_request(drawing.request).device
    except SlipstreamError:
        return None  # drawing it tells what is wrong


def serve(room: Room, device: str, idle_seconds: float) -> int:
    """Be the room's process; returns the exit code."""
    successor = None
    with hold(room.lock, patience_seconds=_LOCK_PATIENCE_SECONDS):
        room.leave.unlink(missing_ok=True)
        _bury(room)
        me = Process(os.environ.get(NAME_VARIABLE) or uuid.uuid4().hex, os.getpid(), device, time.time())
        write_process(room, me)
        log.info("process %s on %s", me.pid, device)
        try:
            successor = Artist(room, me, idle_seconds).work()
        except _Stop:
            return 0
        left = room.leave.exists() or not room.path.is_dir()
    # whoever asked just now saw the room taken: what waits by now has to be begun from here
    late = next(iter(waiting(room)), None)
    if successor is None and late is not None and not left:
        successor = _device_of(late)
    if successor is not None:
        ensure_drawing_process(room, successor)
    return 0


def _bury(room: Room) -> None:
    """Write down for ever that the drawing which the last process was at has failed."""
    before = last_process(room)
    if before is not None and before.drawing:
        drawing = room.drawing(before.drawing)
        progress = read_progress(room, drawing, None)
        if drawing.path.is_dir() and progress.state == "failed":
            write_progress(drawing, progress)


def _end_on_signals() -> None:
    def on_signal(number: int, frame: FrameType | None) -> None:
        raise _Stop("ended")

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


def main() -> int:
    """Entry point of the process."""
    if len(sys.argv) != 3:
        sys.stderr.write("usage: python -m slipstream.drawing_worker FOLDER DEVICE\n")
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s  %(message)s")
    _end_on_signals()
    try:
        return serve(Room(Path(sys.argv[1])), sys.argv[2], float(os.environ.get(IDLE_VARIABLE, IDLE_SECONDS)))
    except (BlockingIOError, _Stop):
        return 0  # another process has the room, or nobody wants this one
    except SlipstreamError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())

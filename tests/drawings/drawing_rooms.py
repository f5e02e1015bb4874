"""Asking a drawing process, waiting for it, and killing it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from slipstream.drawings.progress import DrawingProgress, is_alive, last_process, living_process, read_progress
from slipstream.drawings.request import Base, DrawingRequest, LoraUse, PictureRequest
from slipstream.drawings.room import Drawing, Room, hand_in
from slipstream.launch.drawing import ensure_drawing_process

TINY = Base("tiny/turbo", "tiny/turbo")


def wanted(*uses: LoraUse, prompt: str = "a fox", seed: int = 42, steps: int = 2, side: int = 64) -> PictureRequest:
    """A small picture."""
    return PictureRequest(prompt, seed, side, side, steps, 0.0, loras=uses, has_trigger=False if uses else None)


def ask(room: Room, *pictures: PictureRequest, device: str = "cpu") -> Drawing:
    """Hand a drawing in and see to it that somebody draws."""
    drawing = hand_in(room, DrawingRequest(TINY, device, pictures))
    ensure_drawing_process(room, device)
    return drawing


def until(room: Room, drawing: Drawing, *states: str, seconds: float = 60.0) -> DrawingProgress:
    """How far the drawing is once it is in one of the states; by default in one that is an end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        progress = read_progress(room, drawing, living_process(room))
        if progress.state in (states or ("finished", "failed", "stopped")):
            return progress
        time.sleep(0.02)
    raise AssertionError(f"still {progress}; {room.log.read_text()[-2000:]}")


def kill(room: Room) -> None:
    """Kill the room's process, and wait until it is gone."""
    process = last_process(room)
    while is_alive(room):
        if process is not None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.02)
        process = last_process(room)

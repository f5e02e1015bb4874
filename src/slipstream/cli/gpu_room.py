"""A GPU on which the studio's playground draws is asked for before a training begins on it."""

from __future__ import annotations

import re
import time
from pathlib import Path

from slipstream.cli.screen import out
from slipstream.drawings.progress import living_process, make_room
from slipstream.drawings.room import room_in

_LOOK_SECONDS = 0.2


def ask_for_gpu(device: str, home: Path) -> None:
    """Wait until no process of that studio draws on the GPU that a run asks for (`job.device`).

    What it was drawing waits until a device is free again. Trainings of the queue get theirs from the supervisor.
    """
    room = room_in(home)
    process = living_process(room)
    if process is None or process.device != _gpu(device):
        return
    out.print(f"[dim]the studio's playground draws on {process.device}: it is asked for the GPU ...[/dim]")
    while not make_room(room, process.device):
        time.sleep(_LOOK_SECONDS)


def _gpu(device: str) -> str | None:
    """The GPU that `job.device` means: without a number it is the first."""
    if device == "cpu":
        return None
    number = re.fullmatch(r"cuda:(\d+)", device)
    return f"gpu:{number[1] if number else 0}"

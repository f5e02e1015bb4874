"""The drawing process as a child of the door that asked first; it outlives the door."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid

from slipstream.core.environment import prepare_environment
from slipstream.core.errors import RunError
from slipstream.drawings.progress import is_alive, note_exit
from slipstream.drawings.room import Room

IDLE_SECONDS = 300.0
"""How long the process keeps its model when nobody asks for anything."""
NAME_VARIABLE = "SLIPSTREAM_DRAWING_PROCESS"
IDLE_VARIABLE = "SLIPSTREAM_DRAWING_IDLE_SECONDS"
CPU = "cpu"
_MOST_LOG_BYTES = 4 << 20


def ensure_drawing_process(room: Room, device: str) -> bool:
    """Start the process of the room on a device (`cpu`, `gpu:0`, ...) unless one lives; returns whether one started.

    It sees no other GPU. Two that start at the same time are harmless: one of them finds the room taken and goes.

    Raises:
        RunError: it cannot be started.
    """
    if is_alive(room):
        return False
    name = uuid.uuid4().hex
    prepare_environment()
    environment = {
        **os.environ, NAME_VARIABLE: name, "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "" if device == CPU else device.removeprefix("gpu:"),
    }  # fmt: skip
    try:
        _shorten(room)
        with room.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "slipstream.drawing_worker", str(room.path), device],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=os.name != "nt", env=environment,
            )  # fmt: skip
    except OSError as error:
        raise RunError(
            f"the drawing process cannot be started: {error}", where=str(room.path), fix="check the folder's rights."
        ) from error
    threading.Thread(target=lambda: note_exit(room, name, process.wait()), daemon=True).start()
    return True


def _shorten(room: Room) -> None:
    """Begin the log anew where it has become long."""
    if room.log.exists() and room.log.stat().st_size > _MOST_LOG_BYTES:
        room.log.replace(room.log.with_name("log.old.txt"))

"""`train` in a terminal asks the playground for the GPU it draws on, and only for that."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from slipstream.cli.gpu_room import ask_for_gpu
from slipstream.core.file_lock import hold
from slipstream.drawings.progress import Process, write_process
from slipstream.drawings.room import Room, room_in


@pytest.fixture
def room(tmp_path: Path) -> Room:
    made = room_in(tmp_path)
    made.path.mkdir()
    return made


def draw_until_asked(room: Room, begun: threading.Event, asked: threading.Event) -> None:
    """As a drawing process does: hold the room's lock, go when it is asked to."""
    with hold(room.lock):
        write_process(room, Process("me", 0, "gpu:1", time.time()))
        begun.set()
        while not room.leave.exists():
            time.sleep(0.01)
        asked.set()


@pytest.mark.parametrize("device", ["cpu", "auto", "cuda", "cuda:0"])
def test_who_draws_elsewhere_is_left_alone(room: Room, tmp_path: Path, device: str) -> None:
    with hold(room.lock):
        write_process(room, Process("me", 0, "gpu:1", time.time()))
        ask_for_gpu(device, tmp_path)
    assert not room.leave.exists()


def test_who_draws_on_the_gpu_leaves_before_the_training_begins(room: Room, tmp_path: Path, capsys) -> None:
    begun, asked = threading.Event(), threading.Event()
    drawing = threading.Thread(target=draw_until_asked, args=(room, begun, asked))
    drawing.start()
    assert begun.wait(5)
    ask_for_gpu("cuda:1", tmp_path)
    assert asked.is_set()
    drawing.join(5)
    assert "draws on gpu:1" in capsys.readouterr().out


def test_an_empty_room_costs_nothing(tmp_path: Path) -> None:
    ask_for_gpu("auto", tmp_path)
    assert list(tmp_path.iterdir()) == []

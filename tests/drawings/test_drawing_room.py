"""The process and its room without a model: who comes next, when it goes, and how it makes room for a training."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from drawing_rooms import TINY, wanted

from slipstream import drawing_worker
from slipstream.core.errors import RunError
from slipstream.core.file_lock import hold
from slipstream.drawings import progress as progress_room
from slipstream.drawings.progress import (
    DrawingProgress,
    Process,
    living_process,
    make_room,
    note_exit,
    read_progress,
    write_process,
    write_progress,
)
from slipstream.drawings.request import DrawingRequest, LoraUse, read_request
from slipstream.drawings.room import Drawing, Room, hand_in, list_ids, remove, room_in, take, waiting
from slipstream.jobs import leases, store, supervisor
from slipstream.jobs.database import open_database
from slipstream.jobs.job import NewJob
from slipstream.jobs.places import HOME_VARIABLE


def ask(room: Room, device: str = "cpu") -> Drawing:
    return hand_in(room, DrawingRequest(TINY, device, (wanted(),), {"of": "a test"}))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Drawings that the process drew, each in no time; what it starts is in the list as well."""
    found: list[str] = []

    def draw(artist: drawing_worker.Artist, drawing: Drawing) -> None:
        take(artist.room, drawing)
        write_progress(drawing, DrawingProgress("finished"))
        found.append(drawing.id)

    monkeypatch.setattr(drawing_worker.Artist, "_draw", draw)
    monkeypatch.setattr(drawing_worker, "ensure_drawing_process", lambda room, device: found.append(f"start {device}"))
    return found


def test_a_request_is_read_as_it_was_written(room: Room):
    picture = wanted(LoraUse(Path("/a/b.safetensors"), -0.5), prompt="añil ☃")
    request = DrawingRequest(TINY, "gpu:1", (picture,), {"form": {"count": 2}})
    drawing = hand_in(room, request)
    assert read_request(drawing.request) == request
    drawing.request.write_text("{}")
    with pytest.raises(RunError, match="cannot be read"):
        read_request(drawing.request)


def test_it_draws_what_waits_in_turn_and_goes_when_nobody_asks(room: Room, drawn: list[str]):
    first, second = ask(room), ask(room)
    began = time.monotonic()
    assert drawing_worker.serve(room, "cpu", idle_seconds=0.3) == 0
    assert drawn == [first.id, second.id]
    assert 0.3 <= time.monotonic() - began < 5
    assert living_process(room) is None
    assert list_ids(room) == [second.id, first.id]


def test_for_another_device_another_process_is_started(room: Room, drawn: list[str]):
    here, there = ask(room), ask(room, "gpu:0")
    drawing_worker.serve(room, "cpu", idle_seconds=9)
    assert drawn == [here.id, "start gpu:0"]
    assert waiting(room) == [there]


def test_what_was_asked_for_as_it_went_is_begun_by_the_next(room: Room, drawn: list[str], monkeypatch):
    monkeypatch.setattr(drawing_worker.Artist, "work", lambda artist: ask(artist.room) and None)
    room.path.mkdir()
    drawing_worker.serve(room, "cpu", idle_seconds=0)
    assert drawn == ["start cpu"]


def test_it_ends_with_its_folder(room: Room, drawn: list[str]):
    room.path.mkdir()
    timer = threading.Timer(0.2, shutil.rmtree, [room.path])
    timer.start()
    assert drawing_worker.serve(room, "cpu", idle_seconds=60) == 0
    assert drawn == []
    assert not room.path.exists()


def test_a_room_has_one_process(room: Room):
    room.path.mkdir()
    with hold(room.lock), pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing_worker, "_LOCK_PATIENCE_SECONDS", 0.05)
        with pytest.raises(BlockingIOError):
            drawing_worker.serve(room, "cpu", 1)


def test_what_died_in_the_middle_says_so_for_ever(room: Room, drawn: list[str]):
    drawing = ask(room)
    take(room, drawing)
    write_progress(drawing, DrawingProgress("drawing", process="before"))
    write_process(room, Process("before", 1, "cpu", 0.0, "drawing", drawing=drawing.id))
    note_exit(room, "before", -9)
    drawing_worker.serve(room, "cpu", idle_seconds=0)
    note_exit(room, "after", 0)
    progress = read_progress(room, drawing, None)
    assert progress.state == "failed"
    assert "killed (signal 9)" in progress.message
    remove(room, drawing)
    assert list_ids(room) == []
    assert list(room.drawings.iterdir()) == []


def test_a_training_gets_the_gpu_on_which_somebody_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    room, begun = room_in(tmp_path), []
    room.path.mkdir()
    write_process(room, Process("me", 1, "gpu:0", time.time(), "drawing"))
    monkeypatch.setattr(supervisor, "begin", lambda job, *_: begun.append(job.device))
    db = open_database(f"sqlite:///{tmp_path / 'queue.db'}")
    boss = supervisor.Supervisor(db, ("gpu:0", "gpu:1"))
    with hold(room.lock):
        first = store.add(db, NewJob("first", tmp_path / "first", queue="gpu:0"))
        store.add(db, NewJob("second", tmp_path / "second", queue="gpu:1"))
        supervisor.look_once(boss)
        assert begun == ["gpu:1"]
        assert room.leave.exists()
        assert "giving its GPU back" in store.get(db, first.id).message
    supervisor.look_once(boss)
    assert "gpu:0" in begun
    assert store.get(db, first.id).message == ""
    assert leases.active_jobs(db)
    db.close()


def test_who_does_not_make_room_in_time_is_ended(room: Room, monkeypatch: pytest.MonkeyPatch):
    assert make_room(room, "gpu:0")
    room.path.mkdir()
    code = "import sys, time; from pathlib import Path; from slipstream.core.file_lock import hold\n"
    code += f"with hold(Path({str(room.lock)!r})): print('held', flush=True); time.sleep(60)"
    stubborn = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ)
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    write_process(room, Process("me", stubborn.pid, "gpu:0", time.time()))
    assert make_room(room, "gpu:1")
    assert not make_room(room, "gpu:0")
    assert not make_room(room, "gpu:0")
    assert stubborn.poll() is None
    monkeypatch.setattr(progress_room, "PATIENCE_SECONDS", -1.0)
    assert not make_room(room, "gpu:0")
    assert stubborn.wait(10) == -signal.SIGKILL
    assert make_room(room, "gpu:0")

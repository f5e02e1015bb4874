from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from slipstream.core.errors import RunError
from slipstream.runs.controls import clear, request, take
from slipstream.runs.create import create_run, open_run
from slipstream.runs.layout import RunDir
from slipstream.runs.lock import door_lock, is_running, worker_lock
from slipstream.runs.metrics import MetricsWriter, read_metrics, truncate_after
from slipstream.runs.progress import Progress, State, read_progress, write_progress


def trained(run: RunDir) -> None:
    run.checkpoints.mkdir()
    (run.checkpoints / "state_000000010.pt").touch()


def test_a_name_that_holds_results_is_refused(tmp_path: Path) -> None:
    run, _ = create_run(tmp_path, "one", "job: {name: one}\n")
    trained(run)
    write_progress(run, Progress(state="stopped", step=10, steps=20))
    with pytest.raises(RunError, match=r"already a run called 'one' \(stopped, step 10 of 20\)") as caught:
        create_run(tmp_path, "one", "x")
    assert "slipstream resume" in str(caught.value)
    assert run.config.read_text() == "job: {name: one}\n"


def test_fresh_moves_the_old_run_aside_and_loses_nothing(tmp_path: Path) -> None:
    run, _ = create_run(tmp_path, "one", "first")
    trained(run)
    again, moved = create_run(tmp_path, "one", "second", fresh=True)
    assert moved is not None
    assert (moved / "config.yaml").read_text() == "first"
    assert (moved / "checkpoints/state_000000010.pt").exists()
    assert again.config.read_text() == "second"


def test_a_run_that_never_saved_is_used_again(tmp_path: Path) -> None:
    run, _ = create_run(tmp_path, "one", "first")
    run.log.write_text("it failed\n")
    again, moved = create_run(tmp_path, "one", "second")
    assert moved is None
    assert again.config.read_text() == "second"
    assert not again.log.exists()


def test_a_foreign_folder_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.png").touch()
    with pytest.raises(RunError):
        create_run(tmp_path, "photos", "x")


def test_a_door_that_was_killed_half_way_leaves_no_foreign_folder(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    for name in (".config.yaml.123.part", ".lock"):
        (tmp_path / "one" / name).touch()
    run, moved = create_run(tmp_path, "one", "x")
    assert moved is None
    assert run.config.read_text() == "x"


@pytest.mark.parametrize("state", ["created", "running"])
def test_a_killed_run_does_not_claim_to_run(tmp_path: Path, state: State) -> None:
    run, _ = create_run(tmp_path, "one", "first")
    trained(run)
    write_progress(run, Progress(state=state, step=10, steps=20))
    with pytest.raises(RunError, match="killed, step 10 of 20"):
        create_run(tmp_path, "one", "second")


def test_a_file_in_the_way_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    with pytest.raises(RunError, match="cannot make the run folder"):
        create_run(tmp_path, "one", "x")


def test_nothing_of_a_run_that_never_saved_stays(tmp_path: Path) -> None:
    run, _ = create_run(tmp_path, "one", "first")
    run.tensorboard.mkdir()
    leftovers = (
        run.tensorboard / "events.out.tfevents.1",
        run.metrics,
        run.phases,
        run.timings,
        run.manifest,
        run.report,
    )
    for path in leftovers:
        path.write_text("old")
    create_run(tmp_path, "one", "second")
    assert not [path for path in leftovers if path.exists()]


def test_the_home_folder_may_be_written_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    run, _ = create_run(Path("~/loras"), "one", "x")
    assert run.path == (tmp_path / "loras/one").resolve()


def test_one_door_per_run(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "runs/one")
    with door_lock(run):
        with pytest.raises(RunError, match="'one' is being trained right now"), door_lock(run):
            pass
        with door_lock(RunDir(tmp_path / "runs/two")):
            pass
    with door_lock(run):
        pass
    assert not run.path.exists(), "the lock leaves the folder to the one who makes it"


def test_a_folder_that_cannot_be_locked_is_one_message(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "gone/one")
    with pytest.raises(RunError, match="cannot be written"), worker_lock(run):
        pass


def test_open_run_refuses_other_folders(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run folder"):
        open_run(tmp_path)


def hold(path: Path) -> None:
    with worker_lock(RunDir(path)):
        (path / "held").touch()
        time.sleep(60)


def test_the_lock_is_freed_when_its_holder_is_killed(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    holder = multiprocessing.get_context("spawn").Process(target=hold, args=(tmp_path,))
    holder.start()
    for _ in range(400):
        if (tmp_path / "held").exists():
            break
        time.sleep(0.05)
    assert is_running(run)
    with pytest.raises(RunError, match="being trained right now"), worker_lock(run):
        pass
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert not is_running(run)


def test_metrics_survive_a_torn_line_and_are_cut_on_resume(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = MetricsWriter(path)
    for step in (1, 2, 3):
        writer.append({"step": step, "loss": step / 10})
    writer.close()
    with path.open("a") as handle:
        handle.write('{"step": 4, "lo')
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3]
    truncate_after(path, 2)
    assert [row["step"] for row in read_metrics(path)] == [1, 2]


def test_progress_round_trip_and_unknown_fields(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert read_progress(run) is None
    write_progress(run, Progress(state="running", step=3, loss=0.5))
    assert read_progress(run) == Progress(state="running", step=3, loss=0.5)
    run.progress.write_text('{"state": "running", "step": 4, "added_later": 1}')
    assert read_progress(run) == Progress(state="running", step=4)


def test_controls_are_taken_once(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert not take(run, "save")
    request(run, "save")
    assert take(run, "save")
    assert not take(run, "save")
    request(run, "stop")
    clear(run)
    assert not take(run, "stop")

"""What `train` says and returns when its worker ends in an unusual way."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from slipstream.cli import training
from slipstream.runs.create import create_run
from slipstream.runs.exit_codes import STOPPED
from slipstream.runs.layout import RunDir
from slipstream.runs.lock import worker_lock
from slipstream.runs.progress import Progress, read_progress, write_progress


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made, _ = create_run(tmp_path, "one", "x")
    write_progress(made, Progress(state="running", phase="training", step=7, steps=20))
    return made


def state_of(run: RunDir) -> tuple[str, int]:
    progress = read_progress(run)
    assert progress is not None
    return progress.state, progress.step


def test_a_killed_worker_is_told_and_written_down(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert training._tell(run, -signal.SIGKILL, interrupted=False) == 1
    assert "memory" in capsys.readouterr().err
    assert state_of(run) == ("failed", 7)


def test_a_kill_that_was_asked_for_is_no_error(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert training._tell(run, -signal.SIGKILL, interrupted=True) == 130
    assert "slipstream resume" in capsys.readouterr().out
    assert state_of(run) == ("stopped", 7)


def test_the_progress_of_another_worker_is_left_alone(run: RunDir) -> None:
    with worker_lock(run):
        assert training._tell(run, 1, interrupted=False) == 1
    assert state_of(run) == ("running", 7)


def test_a_stop_before_the_first_step_promises_no_save(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    write_progress(run, Progress(state="stopped"))
    assert training._tell(run, STOPPED, interrupted=True) == 130
    assert "before the first step" in capsys.readouterr().out


class Worker:
    """Notes what it is asked, and ends after some waits."""

    def __init__(self, interrupts: training.Interrupts, presses: list[int]) -> None:
        self.interrupts, self.presses = interrupts, presses
        self.asked: list[str] = []

    def wait(self, seconds: float) -> int | None:
        if not self.presses:
            return 0
        self.interrupts.count += self.presses.pop(0)
        return None

    def ask_to_stop(self) -> None:
        self.asked.append("stop")

    def kill(self) -> None:
        self.asked.append("kill")


@pytest.mark.parametrize(
    ("presses", "expected"),
    [([0, 0], []), ([1, 0], ["stop"]), ([1, 1], ["stop"]), ([2, 0], ["stop"]), ([1, 1, 1], ["stop", "kill"]),
     ([3], ["kill"])],
)  # fmt: skip
def test_the_first_ctrl_c_stops_and_the_third_kills(run: RunDir, presses: list[int], expected: list[str]) -> None:
    interrupts = training.Interrupts()
    worker = Worker(interrupts, presses)
    assert training._follow(run, worker, interrupts, 0) == 0  # type: ignore[arg-type]
    assert worker.asked == expected

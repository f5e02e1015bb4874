"""Asking a running training for something: flags where somebody sees them, and words where nobody would."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slipstream.cli.control import control_command
from slipstream.core.errors import RunError
from slipstream.runs.controls import FLAGS, take
from slipstream.runs.layout import RunDir
from slipstream.runs.lock import worker_lock
from slipstream.runs.progress import Progress, write_progress

CONFIG = "job: {{name: one}}\ndatasets: [{{path: p}}]\nsample: {{prompts: {prompts}}}\n"


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "one")
    run.checkpoints.mkdir(parents=True)
    run.previews.mkdir()
    run.config.write_text(CONFIG.format(prompts="[a fox]"))
    write_progress(run, Progress(state="running", step=7, steps=20))
    return run


@contextmanager
def worker(run: RunDir, follow: Callable[[str], None]) -> Iterator[None]:
    """A thread that holds the run and follows the first flag it sees, as the worker does."""
    ready = threading.Event()

    def work() -> None:
        with worker_lock(run):
            ready.set()
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                for flag in FLAGS:
                    if take(run, flag):
                        return follow(flag)
                time.sleep(0.01)
        return None

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait(5)
    yield
    thread.join(10)


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_reaches_the_worker(run: RunDir, flag, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []
    with worker(run, seen.append):
        assert control_command(run.path, flag, wait=False) == 0
    assert seen == [flag]
    assert "asked" in capsys.readouterr().out


def test_waiting_ends_when_it_is_done(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    def save(flag: str) -> None:
        (run.checkpoints / "state_000000008.pt").touch()
        time.sleep(0.3)

    def draw(flag: str) -> None:
        run.contact_sheet.write_bytes(b"new")
        time.sleep(0.3)

    def stop(flag: str) -> None:
        write_progress(run, Progress(state="stopped", step=8, steps=20))

    for flag, follow, said in (
        ("save", save, "saved after step 7"),
        ("preview", draw, "drawn after step 7"),
        ("stop", stop, "stopped, step 8 of 20"),
    ):
        with worker(run, follow):
            assert control_command(run.path, flag, wait=True) == 0  # type: ignore[arg-type]
        assert said in capsys.readouterr().out


def test_a_worker_that_ends_first_is_told(run: RunDir) -> None:
    with (
        worker(run, lambda flag: write_progress(run, Progress(state="failed", step=7, steps=20))),
        pytest.raises(RunError, match=r"ended before it was saved \(failed, step 7 of 20\)"),
    ):
        control_command(run.path, "save", wait=True)


@pytest.mark.parametrize("flag", FLAGS)
def test_nobody_is_asked_where_nobody_works(run: RunDir, flag) -> None:
    with pytest.raises(RunError, match=r"no worker trains this run \(killed, step 7 of 20\)") as refused:
        control_command(run.path, flag, wait=True)
    assert "slipstream resume" in str(refused.value)
    assert not run.controls.exists(), "a flag left behind would meet the next worker"


def test_previews_without_prompts_are_refused(run: RunDir) -> None:
    run.config.write_text(CONFIG.format(prompts="[]"))
    with worker_lock(run), pytest.raises(RunError, match=r"sample\.prompts is empty"):
        control_command(run.path, "preview", wait=False)


def test_other_folders_are_no_runs(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        control_command(tmp_path, "stop", wait=False)

"""One worker and one door per run: locks that the system releases when their holder dies, however it dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from slipstream.core.errors import RunBusyError, RunError
from slipstream.core.file_lock import hold
from slipstream.runs.layout import RunDir


@contextmanager
def worker_lock(run: RunDir, *, patience_seconds: float = 0.0) -> Iterator[None]:
    """Hold the run for the length of a block.

    Whoever looks whether a run is held takes its lock for a moment; a little patience keeps a worker from
    taking that for another worker.

    Raises:
        RunBusyError: another worker holds it, also after waiting that long.
    """
    with _held(run.lock, run, patience_seconds):
        yield


@contextmanager
def door_lock(run: RunDir) -> Iterator[None]:
    """Hold a run's name from before its folder is made until its worker has ended, for the length of a block.

    The lock lies beside the folder (`.NAME.lock`), so that it stays where it is when the folder is moved aside.

    Raises:
        RunBusyError: another door holds it.
    """
    try:
        run.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot make the run folder: {error}", where=str(run.path), fix="change job.output_dir."
        ) from error
    with _held(run.path.with_name(f".{run.name}.lock"), run, 0.0):
        yield


@contextmanager
def _held(path: Path, run: RunDir, patience_seconds: float) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(hold(path, patience_seconds=patience_seconds))
        except BlockingIOError as error:
            raise RunBusyError(
                f"a run called {run.name!r} is being trained right now", where=str(run.path),
                fix="wait for it or stop it (Ctrl+C where it runs), or give another job.name.",
            ) from error  # fmt: skip
        except OSError as error:
            raise RunError(
                f"the run folder cannot be written ({error.strerror})", where=str(path), fix="check its permissions."
            ) from error
        yield


def is_running(run: RunDir) -> bool:
    """Whether a worker holds the run."""
    try:
        require_idle(run)
    except RunError:
        return True
    return False


def require_idle(run: RunDir) -> None:
    """Pass where no worker holds the run.

    Raises:
        RunBusyError: one does.
    """
    if run.lock.exists():
        with worker_lock(run):
            return

"""One worker and one door per run: locks that the system releases when their holder dies, however it dies."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipstream.core.errors import RunError
from slipstream.runs.layout import RunDir

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def worker_lock(run: RunDir) -> Iterator[None]:
    """Hold the run for the length of a block.

    Raises:
        RunError: another worker holds it.
    """
    with _held(run.lock, run):
        yield


@contextmanager
def door_lock(run: RunDir) -> Iterator[None]:
    """Hold a run's name from before its folder is made until its worker has ended, for the length of a block.

    The lock lies beside the folder (`.NAME.lock`), so that it stays where it is when the folder is moved aside.

    Raises:
        RunError: another door holds it.
    """
    try:
        run.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot make the run folder: {error}", where=str(run.path), fix="change job.output_dir."
        ) from error
    with _held(run.path.with_name(f".{run.name}.lock"), run):
        yield


@contextmanager
def _held(path: Path, run: RunDir) -> Iterator[None]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(
            f"the run folder cannot be written ({error.strerror})", where=str(path), fix="check its permissions."
        ) from error
    try:
        try:
            _try_lock(descriptor)
        except OSError as error:
            raise RunError(
                f"a run called {run.name!r} is being trained right now", where=str(run.path),
                fix="wait for it or stop it (Ctrl+C where it runs), or give another job.name.",
            ) from error  # fmt: skip
        yield
    finally:
        os.close(descriptor)


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
        RunError: one does.
    """
    if run.lock.exists():
        with worker_lock(run):
            return

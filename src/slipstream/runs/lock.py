"""One worker per run: a lock that the system releases when its holder dies, however it dies."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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
    descriptor = os.open(run.lock, os.O_RDWR | os.O_CREAT)
    try:
        try:
            _try_lock(descriptor)
        except OSError as error:
            raise RunError(
                "this run is being trained right now", where=str(run.path),
                fix="wait for it or stop it (Ctrl+C where it runs); another training needs another job.name.",
            ) from error  # fmt: skip
        yield
    finally:
        os.close(descriptor)


def is_running(run: RunDir) -> bool:
    """Whether a worker holds the run."""
    if not run.lock.exists():
        return False
    try:
        with worker_lock(run):
            return False
    except RunError:
        return True

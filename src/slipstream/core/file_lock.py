"""Locks on files that the system releases when their holder dies, however it dies."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_TRY_EVERY_SECONDS = 0.02


@contextmanager
def hold(path: Path, *, patience_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock of a file, which is made where it is missing, for the length of a block.

    Raises:
        BlockingIOError: another process held it all that time.
        OSError: the file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor, time.monotonic() + patience_seconds)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, deadline: float) -> None:
    while True:
        try:
            _try_lock(descriptor)
        except OSError as error:
            if time.monotonic() >= deadline:
                raise BlockingIOError("another process holds the lock") from error
            time.sleep(_TRY_EVERY_SECONDS)
        else:
            return

"""The supervisor as a process of its own, one for each home folder: start it, see whether it lives, end it."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from slipstream.core.atomic import write_json
from slipstream.core.errors import JobError, SlipstreamError
from slipstream.core.file_lock import hold
from slipstream.jobs.database import open_database
from slipstream.jobs.devices import find_gpus, queue_names
from slipstream.jobs.places import DATABASE_VARIABLE, HOME_VARIABLE, database_url, home_dir
from slipstream.jobs.supervisor import Supervisor, supervise

_LOOKERS_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True)
class Service:
    """A living supervisor: its process, its queues, and since when (seconds since 1970)."""

    pid: int
    queues: tuple[str, ...]
    started: float


def _lock(home: Path) -> Path:
    return home / "supervisor.lock"


def log_path(home: Path | None = None) -> Path:
    """Where a supervisor that was started on its own writes what it does."""
    return (home or home_dir()) / "supervisor.log"


def find_supervisor(home: Path | None = None) -> Service | None:
    """The supervisor that lives now, if one does."""
    home = home or home_dir()
    if not _lock(home).exists():
        return None
    with suppress(BlockingIOError), hold(_lock(home)):
        return None
    try:
        value = json.loads((home / "supervisor.json").read_text(encoding="utf-8"))
        return Service(value["pid"], tuple(value["queues"]), value["started"])
    except (OSError, ValueError, KeyError):
        return None  # it is just beginning


def ensure_supervisor(home: Path | None = None, url: str | None = None) -> bool:
    """Start a supervisor that outlives this process, unless one lives; returns whether one was started.

    Cheap enough to be called every few seconds: where one dies, this brings the next.

    Raises:
        JobError: the home folder cannot be written.
    """
    home = home or home_dir()
    if find_supervisor(home) is not None:
        return False
    variables = {HOME_VARIABLE: str(home), DATABASE_VARIABLE: url or database_url(home)}
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with log_path(home).open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", "slipstream.jobs.service"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=os.name != "nt", env={**os.environ, **variables}, cwd=home,
            )  # fmt: skip
    except OSError as error:
        raise JobError(
            f"the supervisor cannot be started: {error}", where=str(home), fix=f"check it, or set {HOME_VARIABLE}."
        ) from error
    return True


def stop_supervisor(home: Path | None = None) -> bool:
    """Ask the supervisor to end; workers go on, and the next supervisor takes them over. Returns whether one lived."""
    service = find_supervisor(home)
    if service is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(service.pid, signal.SIGTERM)
    return True


def serve(home: Path | None = None, queues: Collection[str] | None = None, *, until_idle: bool = False) -> int:
    """Be the supervisor of the home folder until a signal comes; returns the exit code.

    With `until_idle` it returns once nothing runs and nothing can be started.

    Raises:
        JobError: another one lives, or the database cannot be opened.
    """
    home = home or home_dir()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    names = tuple(queues or queue_names(find_gpus()))
    ended = threading.Event()
    _end_on_signals(ended)
    try:
        with hold(_lock(home), patience_seconds=_LOOKERS_PATIENCE_SECONDS):
            write_json(home / "supervisor.json", asdict(Service(os.getpid(), names, time.time())))
            db = open_database(database_url(home))
            logging.getLogger(__name__).info("supervisor %s for %s", os.getpid(), ", ".join(names))
            lock = _lock(home).stat().st_ino
            supervise(Supervisor(db, names), ended, until_idle=until_idle, wanted=lambda: _is_there(home, lock))
    except BlockingIOError as error:
        raise JobError("a supervisor is at work already", where=str(home), fix="leave it to that one.") from error
    return 0


def _is_there(home: Path, lock: int) -> bool:
    """Whether the home folder is still the one that this supervisor is for: a folder that was deleted needs none."""
    try:
        return _lock(home).stat().st_ino == lock
    except OSError:
        return False


def _end_on_signals(ended: threading.Event) -> None:
    def on_signal(number: int, frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


def main() -> int:
    """`python -m slipstream.jobs.service`: home and database as the environment says."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s  %(message)s")
    try:
        return serve()
    except SlipstreamError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())

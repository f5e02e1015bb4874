"""Who works on a run, and how it ended: for those who are not the worker's parent, or have lost it.

Whoever starts workers that may outlive him orders an attempt first: while he holds the run's lock he writes its name
into `controls/attempt`, and he gives the worker that name in its environment. A worker takes the lock and then
compares: one that comes late, after another attempt was ordered, goes without touching the run. The worker writes
`worker.json` when it begins and when it ends, both while it holds the lock. So where the lock is free, the record of an
attempt is final: it has an end, or its worker was killed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from slipstream.core.atomic import write_json, write_text
from slipstream.core.errors import RunBusyError, SlipstreamError
from slipstream.runs.exit_codes import FAILED, SUPERSEDED
from slipstream.runs.layout import RunDir
from slipstream.runs.lock import worker_lock
from slipstream.runs.progress import read_progress

ATTEMPT_VARIABLE = "SLIPSTREAM_ATTEMPT"
LOCK_PATIENCE_SECONDS = 5.0
"""How long a worker tries to take its run."""


@dataclass(frozen=True)
class WorkerRecord:
    """A worker of the run. `attempt` is empty for one that nobody ordered (`slipstream train`)."""

    attempt: str
    pid: int
    started: float
    """Seconds since 1970, as `ended`."""
    ended: float | None = None
    exit_code: int | None = None
    message: str = ""
    """Why it failed."""


def order_attempt(run: RunDir, name: str) -> None:
    """From now on only this attempt may work on the run. The caller holds the run's lock."""
    run.controls.mkdir(exist_ok=True)
    write_text(run.controls / "attempt", name)


def revoke_attempt(run: RunDir, name: str) -> bool:
    """See to it that no worker of this attempt begins any more; returns whether that came off.

    It does not while somebody holds the run, which may be that worker.
    """
    if ordered_attempt(run) != name:
        return True
    try:
        with worker_lock(run):
            order_attempt(run, f"{name.rpartition('-')[0]}-0")
    except RunBusyError:
        return False
    return True


def ordered_attempt(run: RunDir) -> str | None:
    """The attempt that was ordered last."""
    try:
        return (run.controls / "attempt").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def take_run(run: RunDir, work: Callable[[], int]) -> int:
    """What a worker does: hold the run, go where another attempt was ordered since, else work; returns the exit code.

    Raises:
        RunBusyError: another worker holds the run.
        RunError: the folder cannot be written.
    """
    with worker_lock(run, patience_seconds=LOCK_PATIENCE_SECONDS):
        return SUPERSEDED if _superseded(run) else _recorded(run, work)


def _superseded(run: RunDir) -> bool:
    """Whether this process was started for an attempt, and another one was ordered since."""
    mine = os.environ.get(ATTEMPT_VARIABLE)
    return bool(mine) and ordered_attempt(run) != mine


def _recorded(run: RunDir, work: Callable[[], int]) -> int:
    """Do the work of a worker, which returns its exit code, and write down its begin and its end."""
    record = WorkerRecord(os.environ.get(ATTEMPT_VARIABLE, ""), os.getpid(), time.time())
    write_json(run.worker, asdict(record))
    code = FAILED
    try:
        code = work()
    finally:
        progress = read_progress(run)
        message = progress.message if progress is not None and code == FAILED else ""
        with suppress(SlipstreamError):  # a full disk: whoever started it sees the code, others take it for killed
            write_json(run.worker, asdict(replace(record, ended=time.time(), exit_code=code, message=message)))
    return code


def read_worker(run: RunDir) -> WorkerRecord | None:
    """The newest worker's record; None where there was none."""
    try:
        return WorkerRecord(**json.loads(run.worker.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None

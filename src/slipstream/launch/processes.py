"""Ending a worker that is not this process's child."""

from __future__ import annotations

import contextlib
import os
import signal

from slipstream.runs.attempts import read_worker
from slipstream.runs.layout import RunDir
from slipstream.runs.lock import is_running


def kill_attempt(run: RunDir, attempt: str) -> bool:
    """Kill the living worker of that attempt with all its processes; returns whether there was one.

    The number in `worker.json` is its only as long as it holds the run, so that is looked at right before.
    """
    record = read_worker(run)
    if record is None or record.attempt != attempt or record.ended is not None or not is_running(run):
        return False
    with contextlib.suppress(ProcessLookupError):
        if os.name == "nt":
            os.kill(record.pid, signal.SIGTERM)  # Windows knows no other way to end a process than at once
        elif os.getpgid(record.pid) == record.pid:
            os.killpg(record.pid, signal.SIGKILL)
        else:
            os.kill(record.pid, signal.SIGKILL)
    return True

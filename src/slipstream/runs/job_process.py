"""What the processes of jobs besides training share: the command line, the lock of their folder, signals that stop."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from slipstream.core.environment import prepare_environment
from slipstream.core.errors import SlipstreamError
from slipstream.runs.attempts import take_run
from slipstream.runs.exit_codes import FAILED
from slipstream.runs.layout import RunDir


def on_stop_signals(stop: Callable[[], None]) -> None:
    """From now on SIGINT and SIGTERM call `stop`."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)


def run_job(command: str, work: Callable[[RunDir], int]) -> int:
    """Take the folder of the command line and work in it; returns the exit code. `command` is what follows `-m`."""
    if len(sys.argv) != 2:
        sys.stderr.write(f"usage: python -m {command}\n")
        return 2
    prepare_environment()
    run = RunDir(Path(sys.argv[1]).resolve())
    try:
        return take_run(run, lambda: work(run))
    except SlipstreamError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED

"""A worker as a child process of the door. It outlives a closed terminal and takes Ctrl+C as "save and stop"."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from slipstream.core.environment import prepare_environment
from slipstream.core.errors import RunError
from slipstream.runs.layout import RunDir


@dataclass(frozen=True)
class LocalWorker:
    """A started worker."""

    process: subprocess.Popen[bytes]

    def wait(self, seconds: float) -> int | None:
        """Its exit code, or None where it still runs after that time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def ask_to_stop(self) -> None:
        """Save and stop after the current update."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT if os.name != "nt" else signal.SIGTERM)

    def kill(self) -> None:
        """End it at once; the last checkpoint stays whole."""
        self.process.kill()


def start_worker(
    run: RunDir, *, module: str = "slipstream.worker", environment: Mapping[str, str] | None = None
) -> LocalWorker:
    """Start `python -m slipstream.worker RUN_DIR` in a session of its own, so that it outlives whoever started it; what
    it prints goes to the run's log. `environment` is set over this process's.

    Raises:
        RunError: the log cannot be written, or there is no room for a process.
    """
    prepare_environment()
    command = [sys.executable, "-m", module, str(run.path)]
    try:
        with run.log.open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=os.name != "nt",
                env={**os.environ, **(environment or {})},
            )  # fmt: skip
    except OSError as error:
        raise RunError(
            f"the training cannot be started: {error}", where=str(run.path), fix="check the folder's permissions."
        ) from error
    return LocalWorker(process)

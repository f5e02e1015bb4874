"""The only process that trains: `python -m slipstream.worker RUN_DIR`.

Exit codes: 0 finished, 10 stopped on request (saved, resumable), 1 failed (`progress.json` and `log.txt` say why).
"""

from __future__ import annotations

import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from slipstream.config.run_config import config_from_run
from slipstream.core.errors import SlipstreamError
from slipstream.reports.html import write_report
from slipstream.runs.controls import clear, take
from slipstream.runs.create import open_run
from slipstream.runs.exit_codes import FAILED, FINISHED, STOPPED
from slipstream.runs.layout import RunDir
from slipstream.runs.lock import worker_lock
from slipstream.runs.progress import Progress, write_progress
from slipstream.training.build import Prepared, compose, make_reporter, prepare
from slipstream.training.loop import train
from slipstream.training.reporter import Reporter
from slipstream.training.setting import settle
from slipstream.training.speed import note_speed


@dataclass
class WorkerRequests:
    """Signals and the run's control flags, as the loop asks for them."""

    run: RunDir
    signalled: bool = False

    def stop(self) -> bool:
        """A signal came or the stop flag was set."""
        return self.signalled or take(self.run, "stop")

    def save(self) -> bool:
        """The save flag was set."""
        return take(self.run, "save")

    def preview(self) -> bool:
        """The preview flag was set."""
        return take(self.run, "preview")

    def listen(self) -> None:
        """From now on SIGINT and SIGTERM mean: finish the update, save, stop."""

        def on_signal(number: int, frame: FrameType | None) -> None:
            self.signalled = True

        signal.signal(signal.SIGINT, on_signal)
        signal.signal(signal.SIGTERM, on_signal)


def work(run: RunDir) -> int:
    """Train the run to its end or to a stop; returns the exit code."""
    requests = WorkerRequests(run)
    requests.listen()
    clear(run)
    reporter: Reporter | None = None
    try:
        setting = settle(config_from_run(run.config))
        reporter = make_reporter(setting, run)
        prepared = prepare(setting, run, reporter)
        return _train(prepared, requests)
    except SlipstreamError as error:
        _fail(run, reporter, str(error))
        return FAILED
    except BaseException as error:
        _fail(run, reporter, f"an unexpected error: {error!r}; the traceback is in {run.log}", traceback.format_exc())
        raise


def _train(prepared: Prepared, requests: WorkerRequests) -> int:
    reporter, run = prepared.reporter, prepared.run
    reporter.start_training(prepared.state.step)
    with prepared.loader:
        finished = train(compose(prepared, requests))
    note_speed(prepared.setting, reporter.seconds_per_step)
    reporter.end("finished" if finished else "stopped")
    write_report(run)
    return FINISHED if finished else STOPPED


def _fail(run: RunDir, reporter: Reporter | None, message: str, details: str = "") -> None:
    with run.log.open("a", encoding="utf-8") as log:
        log.write(f"FAILED: {message}\n{details}")
    if reporter is None:
        write_progress(run, Progress(state="failed", message=message))
    else:
        reporter.end("failed", message)
        write_report(run)


def main() -> int:
    """Entry point of the worker process."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m slipstream.worker RUN_DIR\n")
        return 2
    try:
        run = open_run(Path(sys.argv[1]))
        with worker_lock(run):
            return work(run)
    except SlipstreamError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED


if __name__ == "__main__":
    sys.exit(main())

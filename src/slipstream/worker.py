"""The only process that trains: `python -m slipstream.worker RUN_DIR`.

Exit codes: 0 finished, 10 stopped on request (saved, resumable), 1 failed (`progress.json` and `log.txt` say why), 11
another attempt was ordered meanwhile. `worker.json` says so too, for those who are not the worker's parent.
Nothing heavy is imported before the worker holds its run and listens to signals, so a stop is never too early.
"""

from __future__ import annotations

import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from slipstream.core.errors import SlipstreamError
from slipstream.runs.attempts import take_run
from slipstream.runs.controls import clear, take
from slipstream.runs.create import open_run
from slipstream.runs.exit_codes import FAILED, FINISHED, STOPPED
from slipstream.runs.layout import RunDir
from slipstream.runs.progress import Progress, State, read_progress, write_progress

if TYPE_CHECKING:
    from slipstream.reports.findings import ToldFinding
    from slipstream.training.build import Prepared
    from slipstream.training.reporter import Reporter

_MOST_TOLD = 5
"""Findings that the log tells at the end; the report and `slipstream findings` tell all."""


@dataclass
class WorkerRequests:
    """Signals and the run's control flags, as the loading phases and the loop ask for them."""

    run: RunDir
    loading: bool = True
    stopping: bool = False

    def stop(self) -> bool:
        """A signal came or the stop flag was set; once so, it stays so."""
        self.stopping = self.stopping or take(self.run, "stop")
        return self.stopping

    def save(self) -> bool:
        """The save flag was set."""
        return take(self.run, "save")

    def preview(self) -> bool:
        """The preview flag was set."""
        return take(self.run, "preview")

    def listen(self) -> None:
        """From now on SIGINT and SIGTERM mean: finish the update, save, stop; while loading: stop at once."""

        def on_signal(number: int, frame: FrameType | None) -> None:
            self.stopping = True
            if self.loading:
                raise KeyboardInterrupt

        signal.signal(signal.SIGINT, on_signal)
        signal.signal(signal.SIGTERM, on_signal)


def work(run: RunDir) -> int:
    """Train the run to its end or to a stop; returns the exit code."""
    requests = WorkerRequests(run)
    reporter: Reporter | None = None
    try:
        requests.listen()
        clear(run)
        from slipstream.config.run_config import config_from_run
        from slipstream.training.build import make_reporter, prepare
        from slipstream.training.planning import planned_before
        from slipstream.training.setting import settle

        config = config_from_run(run.config)
        reporter = make_reporter(config, run, requests.stop)
        with reporter.phase("read dataset, find model"):
            setting = settle(config, reporter.download, planned_before(run))
        prepared = prepare(setting, run, reporter)
        requests.loading = False
        return _train(prepared, requests)
    except BaseException as error:
        # a library that is interrupted while it loads may raise something of its own
        stopped = requests.loading and requests.stopping
        requests.loading = False
        if stopped:
            _end(run, reporter, "stopped")
            return STOPPED
        if isinstance(error, SlipstreamError):
            _end(run, reporter, "failed", str(error))
            return FAILED
        _end(run, reporter, "failed", _unexpected(run, error), traceback.format_exc())
        raise


def _train(prepared: Prepared, requests: WorkerRequests) -> int:
    from slipstream.training.build import compose
    from slipstream.training.loop import train
    from slipstream.training.push_stage import push_if_asked
    from slipstream.training.speed import note_speed

    reporter = prepared.reporter
    reporter.start_training(prepared.state.step)
    with prepared.loader:
        finished = train(compose(prepared, requests))
    note_speed(prepared.setting, reporter.seconds_per_step)
    if finished:
        requests.loading = True  # a stop ends the upload at once
        push_if_asked(prepared.setting.config, prepared.run, reporter)
        requests.loading = False
    _end(prepared.run, reporter, "finished" if finished else "stopped")
    return FINISHED if finished else STOPPED


def _unexpected(run: RunDir, error: BaseException) -> str:
    if type(error).__name__ in ("OutOfMemoryError", "MemoryError"):  # found without torch, which may not be loaded
        from slipstream.training.out_of_memory import ADVICE

        return f"the device is out of memory\n  fix: {ADVICE}"
    return f"an unexpected error: {error!r}; the traceback is in {run.log}"


def _end(run: RunDir, reporter: Reporter | None, state: State, message: str = "", details: str = "") -> None:
    """Write down how it ended, as far as the disk takes it: a page that cannot be written undoes no training."""
    if state == "failed":
        with suppress(OSError), run.log.open("a", encoding="utf-8") as log:
            log.write(f"FAILED: {message}\n{details}")
    if reporter is None:
        before = read_progress(run) or Progress()
        with suppress(SlipstreamError):
            write_progress(run, Progress(state=state, step=before.step, steps=before.steps, message=message))
        return
    with suppress(SlipstreamError):
        reporter.end(state, message)
    from slipstream.reports.html import write_report

    findings = _tell_findings(run, reporter)
    with suppress(SlipstreamError):
        write_report(run, findings)


def _tell_findings(run: RunDir, reporter: Reporter) -> list[ToldFinding]:
    """Say in the log what the run's files show, the gravest first, and return it in words for the report."""
    from slipstream.findings.look import findings_of
    from slipstream.findings.tell import one_line, tell

    try:
        findings = findings_of(run)
        for finding in findings[:_MOST_TOLD]:
            reporter.log(f"finding: {one_line(finding)}")
        if findings:
            reporter.log(f"findings: {len(findings)} in all; see them with `slipstream findings {run.path}`")
    except SlipstreamError as error:  # a full disk, or a config that was spoiled meanwhile: the training stands
        sys.stderr.write(f"no findings: {error}\n")
        return []
    return [tell(finding) for finding in findings]


def main() -> int:
    """Entry point of the worker process."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m slipstream.worker RUN_DIR\n")
        return 2
    try:
        run = open_run(Path(sys.argv[1]))
        return take_run(run, lambda: work(run))
    except SlipstreamError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED


if __name__ == "__main__":
    sys.exit(main())

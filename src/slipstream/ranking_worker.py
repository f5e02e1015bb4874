"""The process that ranks a run's checkpoints for the queue: `python -m slipstream.ranking_worker JOB_DIR`.

`job.json` there names the run: `{"run": folder}`. It keeps to the contract of runs in its own folder: the lock,
`progress.json`, `controls/stop`, and exit codes 0 finished, 10 stopped (begins anew when started again), 1 failed. What
comes of it lies in the run that is ranked, as with `slipstream rank`.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from slipstream.core.errors import RunError, SlipstreamError
from slipstream.runs.controls import clear, take
from slipstream.runs.create import open_run
from slipstream.runs.exit_codes import FAILED, FINISHED, STOPPED
from slipstream.runs.job_process import on_stop_signals, run_job
from slipstream.runs.layout import RunDir
from slipstream.runs.progress import Progress, write_progress

JOB_FILE = "job.json"
_WRITE_EVERY_SECONDS = 0.2


@dataclass
class _Reporter:
    """Writes how far it is; wherever it is told so, it looks whether it shall stop."""

    run: RunDir
    progress: Progress = field(default_factory=lambda: Progress(state="running"))
    stopping: bool = False
    written: float = 0.0

    def say(self, line: str) -> None:
        print(time.strftime("%H:%M:%S"), line, flush=True)

    def ask_to_stop(self) -> None:
        self.stopping = True

    def tell(self, **values: object) -> None:
        self.progress = replace(self.progress, **values)  # type: ignore[arg-type]
        write_progress(self.run, self.progress)

    def loading(self, name: str, done: int, total: int) -> None:
        self._count(name, done, total)

    def drawing(self, what: str, done: int, total: int) -> None:
        self._count("rank", done, total, detail=what, step=done, steps=total)

    def _count(self, phase: str, done: int, total: int, **values: object) -> None:
        self.stop_if_asked()
        now = time.monotonic()
        if phase == self.progress.phase and done < total and now - self.written < _WRITE_EVERY_SECONDS:
            return
        self.written = now
        self.tell(phase=phase, done=done, total=total, **values)

    def stop_if_asked(self) -> None:
        self.stopping = self.stopping or take(self.run, "stop")
        if self.stopping:
            raise KeyboardInterrupt


def read_target(job: RunDir) -> RunDir:
    """The run that a job's folder names.

    Raises:
        RunError: it names none, or none that is there.
    """
    try:
        folder = json.loads((job.path / JOB_FILE).read_text(encoding="utf-8"))["run"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            "this is no folder of a ranking job (it has no job.json with a run)", where=str(job.path),
            fix="start one on a run's page, or with `slipstream rank`.",
        ) from error  # fmt: skip
    return open_run(Path(folder))


def work(job: RunDir) -> int:
    """Rank to the end or to a stop; returns the exit code."""
    reporter = _Reporter(job)
    on_stop_signals(reporter.ask_to_stop)
    clear(job)
    try:
        _rank(job, reporter)
    except KeyboardInterrupt:
        reporter.tell(state="stopped", eta_seconds=None)
        return STOPPED
    except SlipstreamError as error:
        reporter.tell(state="failed", message=str(error))
        reporter.say(f"FAILED: {error}")
        return FAILED
    except BaseException as error:
        with suppress(SlipstreamError):
            reporter.tell(state="failed", message=f"an unexpected error: {error!r}; the log has the traceback")
        reporter.say(f"FAILED: {traceback.format_exc()}")
        raise
    reporter.tell(state="finished", eta_seconds=None)
    return FINISHED


def _rank(job: RunDir, reporter: _Reporter) -> None:
    run = read_target(job)
    reporter.tell(phase="load model")
    from slipstream.reports.ranking_page import require_page_place
    from slipstream.workflows.rank import RankRequest, Watch, rank

    require_page_place(run.ranking_page)
    found = rank(RankRequest(run, run.ranking_page), Watch(reporter.say, reporter.loading, reporter.drawing))
    reporter.say(f"recommended: step {found.recommended['step']} at weight {found.recommended['weight']:g}")


def main() -> int:
    """Entry point of the worker process."""
    return run_job("slipstream.ranking_worker JOB_DIR", work)


if __name__ == "__main__":
    sys.exit(main())

"""The process that captions: `python -m slipstream.captioning.worker RUN_DIR`, where `job.json` says what.

It keeps to the contract of runs: the lock, `progress.json`, `controls/stop`, and exit codes 0 finished, 10 stopped
(goes on where it was when started again), 1 failed. `captioned.jsonl` tells what became of every picture, with the
caption it had before.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
import traceback

from slipstream.captioning.request import CaptionRequest, request_from_json
from slipstream.captioning.work import (
    Captioned,
    append_captioned,
    caption_pictures,
    pictures_to_caption,
    read_captioned,
)
from slipstream.core.errors import RunError, SlipstreamError
from slipstream.runs.controls import clear, take
from slipstream.runs.exit_codes import FAILED, FINISHED, STOPPED
from slipstream.runs.job_process import on_stop_signals, run_job
from slipstream.runs.layout import RunDir
from slipstream.runs.progress import Progress, write_progress

JOB_FILE, DIARY = "job.json", "captioned.jsonl"


@dataclasses.dataclass
class _Reporter:
    """Writes how far it is, and asks for the stop flag."""

    run: RunDir
    progress: Progress = dataclasses.field(default_factory=lambda: Progress(state="running"))
    stopping: bool = False
    began: float = 0.0
    done: int = 0

    def ask_to_stop(self) -> None:
        self.stopping = True

    def tell(self, **values: object) -> None:
        self.progress = dataclasses.replace(self.progress, **values)  # type: ignore[arg-type]
        write_progress(self.run, self.progress)

    def say(self, line: str) -> None:
        print(time.strftime("%H:%M:%S"), line, flush=True)

    def stop(self) -> bool:
        self.stopping = self.stopping or take(self.run, "stop")
        return self.stopping

    def count(self, done: Captioned) -> None:
        self.done += 1
        pace = (time.monotonic() - self.began) / self.done
        left = self.progress.total - self.progress.done - 1
        self.tell(
            done=self.progress.done + 1, step=self.progress.done + 1, detail=done.file, seconds_per_step=pace,
            eta_seconds=pace * left,
        )  # fmt: skip
        self.say(f"{done.file}: {done.skipped or done.after}")


def read_request(run: RunDir) -> CaptionRequest:
    """What the run folder's `job.json` asks for.

    Raises:
        RunError: there is none.
        ConfigError: it is wrong.
    """
    try:
        value = json.loads((run.path / JOB_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            "this is no folder of a captioning job (it has no job.json)", where=str(run.path),
            fix="start one on a dataset's page, or with `slipstream caption`.",
        ) from error  # fmt: skip
    return request_from_json(value)


def work(run: RunDir) -> int:
    """Caption to the end or to a stop; returns the exit code."""
    reporter = _Reporter(run)
    on_stop_signals(reporter.ask_to_stop)
    clear(run)
    try:
        finished = _caption(run, reporter)
    except SlipstreamError as error:
        reporter.tell(state="failed", message=str(error))
        reporter.say(f"FAILED: {error}")
        return FAILED
    except BaseException as error:
        reporter.tell(state="failed", message=f"an unexpected error: {error!r}; the traceback is in {run.log}")
        reporter.say(f"FAILED: {traceback.format_exc()}")
        raise
    reporter.tell(state="finished" if finished else "stopped", eta_seconds=None)
    return FINISHED if finished else STOPPED


def _caption(run: RunDir, reporter: _Reporter) -> bool:
    request = read_request(run)
    diary = run.path / DIARY
    before = {one.file for one in read_captioned(diary)}
    everything = pictures_to_caption(request)
    pictures = [path for path in everything if path.relative_to(request.dataset).as_posix() not in before]
    total = len(before) + len(pictures)
    reporter.tell(phase="load model", done=len(before), total=total, step=len(before), steps=total)
    if not pictures or reporter.stop():
        return not pictures
    from slipstream.captioning.model import load_captioner

    captioner = load_captioner(request.model, request.device, request.dtype)
    reporter.say(captioner.about)
    reporter.tell(phase="caption")
    reporter.began = time.monotonic()
    for done in caption_pictures(request, pictures, captioner.answers, reporter.stop):
        append_captioned(diary, done)
        reporter.count(done)
    return reporter.progress.done >= total


def main() -> int:
    """Entry point of the worker process."""
    return run_job("slipstream.captioning.worker RUN_DIR", work)


if __name__ == "__main__":
    sys.exit(main())

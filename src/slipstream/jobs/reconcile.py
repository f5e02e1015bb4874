"""What became of a job, judged by the truth on disk: the run's lock, the worker's record, and its exit code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from slipstream.jobs.job import Job, State
from slipstream.launch.local import LocalWorker
from slipstream.runs.attempts import WorkerRecord, read_worker
from slipstream.runs.exit_codes import FINISHED, STOPPED
from slipstream.runs.lock import is_running
from slipstream.runs.progress import read_progress

Act = Literal["wait", "set", "ask to stop", "kill"]


@dataclass(frozen=True)
class Seen:
    """What there is to see of a job's worker."""

    held: bool
    """Somebody holds the run's lock."""
    worker: WorkerRecord | None = None
    """The newest worker's record, this job's or not."""
    child: bool = False
    """We started its worker ourselves, ..."""
    child_code: int | None = None
    """... and it ended with this code; None: it lives."""
    step: int = 0


@dataclass(frozen=True)
class Verdict:
    """What to do. With `set` the job gets the state, and what else is given."""

    act: Act
    state: State | None = None
    exit_code: int | None = None
    message: str = ""
    counts: bool = False
    """It goes back into the queue, and that is one of its automatic resumes."""
    revokes: bool = False
    """Nobody has seen its worker, which may still come: it must find that it is not wanted any more."""


WAIT = Verdict("wait")


def look(job: Job, worker: LocalWorker | None) -> Seen:
    """See how it stands. The order matters: the record is final once the lock is seen free, and not before."""
    code = None if worker is None else worker.wait(0)
    held = is_running(job.run)
    progress = read_progress(job.run)
    return Seen(held, read_worker(job.run), worker is not None, code, 0 if progress is None else progress.step)


def judge(job: Job, seen: Seen, now: float) -> Verdict:
    """Decide. Nothing here depends on who watched the worker before."""
    record = seen.worker if seen.worker is not None and seen.worker.attempt == job.attempt_name else None
    if (seen.child and seen.child_code is None) or (seen.held and record is not None):
        return _living(job, seen, record, now)
    if seen.held and job.state == "running":
        message = "its worker is gone, and somebody goes on with the run outside of the queue"
        return Verdict("set", "stopped", message=message)
    if record is not None and record.ended is not None:
        return Verdict("set", _state_of(record.exit_code), record.exit_code, record.message)
    if record is None and seen.child_code is None:
        if job.state == "stopping":
            return Verdict("set", "stopped", message="stopped before its worker began", revokes=True)
        if job.state == "starting":
            return Verdict("set", "queued", message="its supervisor ended before its worker began", revokes=True)
    if record is None and seen.child_code is not None and seen.child_code >= 0:
        message = f"the worker ended with code {seen.child_code} before it took the run; see {job.run.log}"
        return Verdict("set", "failed", seen.child_code, message)
    return _died(job, seen)


def _living(job: Job, seen: Seen, record: WorkerRecord | None, now: float) -> Verdict:
    if job.state == "stopping":
        return Verdict("kill" if job.kill_at is not None and now >= job.kill_at else "ask to stop")
    if job.state == "starting" and seen.held and record is not None:
        return Verdict("set", "running")
    return WAIT


def _state_of(exit_code: int | None) -> State:
    if exit_code == FINISHED:
        return "finished"
    return "stopped" if exit_code == STOPPED else "failed"


def _died(job: Job, seen: Seen) -> Verdict:
    """It left no result: killed, by whomever, or with the whole machine."""
    code, how = seen.child_code, "was killed" + (f" (signal {-seen.child_code})" if seen.child_code else "")
    if job.state == "stopping":
        return Verdict("set", "stopped", code, f"its worker {how} at step {seen.step} before it had stopped by itself")
    if job.resumes < job.max_resumes:
        message = f"its worker {how} at step {seen.step}; goes on by itself ({job.resumes + 1} of {job.max_resumes})"
        return Verdict("set", "queued", code, message, counts=True)
    message = (
        f"its worker {how} at step {seen.step}, most often by the system because memory ran out\n"
        f"  fix: free memory (lower training.batch_size or the resolutions), then put the job back into the queue."
    )
    return Verdict("set", "failed", code, message)

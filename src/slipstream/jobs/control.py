"""What people do with jobs: pause, resume, stop, kill, requeue, reorder; and with whole queues: pause, resume."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from typing import Any, Literal

from sqlalchemy import func, select, update

from slipstream.core.errors import JobError
from slipstream.jobs.database import Change, Database
from slipstream.jobs.job import ACTIVE, ENDED, WAITING, Job, State
from slipstream.jobs.models import JobRow, QueueRow
from slipstream.jobs.store import last_position, read
from slipstream.jobs.transitions import set_state, write
from slipstream.runs import controls

STOP_PATIENCE_SECONDS = 300.0
"""How long a worker has for its update, its previews and its save before it is killed."""


def pause(db: Database, job_id: int) -> Job:
    """Let a queued job wait until it is resumed.

    Raises:
        UnknownJobError: there is none with this number.
        JobError: it is not queued.
    """
    with db.changing() as change:
        return _set_or_refuse(change, job_id, "paused", ["queued"], fix="only a queued job can be paused.")


def resume(db: Database, job_id: int) -> Job:
    """Let a paused job be started again when its turn comes.

    Raises:
        UnknownJobError: there is none with this number.
        JobError: it is not paused.
    """
    fix = f"a job that has ended is put back with: slipstream queue requeue {job_id}"
    with db.changing() as change:
        return _set_or_refuse(change, job_id, "queued", ["paused"], fix=fix, message="")


def stop(db: Database, job_id: int, *, patience_seconds: float = STOP_PATIENCE_SECONDS) -> Job:
    """Ask the job's worker to save and stop, and let it be killed after that time; a waiting job is stopped at once.

    May be called again with less patience; `kill` is this with none.

    Raises:
        UnknownJobError: there is none with this number.
        JobError: it has ended already.
    """
    now = time.time()
    with db.changing() as change:
        job = read(change.session, job_id)
        was = job.state
        if was in WAITING:
            done = set_state(change, job_id, "stopped", before=WAITING, ended=now, message="stopped before its turn")
        else:
            kill_at = min(now + patience_seconds, job.kill_at or float("inf"))
            asked = update(JobRow).where(JobRow.id == job_id, JobRow.state.in_(ACTIVE))
            done = write(change, asked.values(state="stopping", kill_at=kill_at))
        if not done:
            raise JobError(f"job {job_id} is {job.state} already", fix=f"slipstream queue requeue {job_id} goes on.")
        job = read(change.session, job_id)
    if job.state == "stopping" and was == "running":
        with contextlib.suppress(OSError):  # the supervisor asks again until the worker is over
            controls.request(job.run, "stop")
    return job


def kill(db: Database, job_id: int) -> Job:
    """End the job's worker at once; what it saved before stays whole. Raises as `stop` does."""
    return stop(db, job_id, patience_seconds=0.0)


def requeue(
    db: Database, job_id: int, *, config_yaml: str | None = None, front: bool = False, paused: bool = False
) -> Job:
    """Put a job that has ended back into the queue: it goes on from its run's newest checkpoint.

    `config_yaml` as `edit.edited_yaml` has checked it.

    Raises:
        UnknownJobError: there is none with this number.
        JobError: it has not ended.
    """
    changes: dict[str, Any] = {} if config_yaml is None else {"config_yaml": config_yaml}
    with db.changing() as change:
        position = _first_position(change) - 1 if front else last_position(change.session) + 1
        return _set_or_refuse(
            change, job_id, "paused" if paused else "queued", ENDED, fix="only a job that has ended is put back.",
            position=position, resumes=0, exit_code=None, message="", ended=None, kill_at=None, device=None, owner=None,
            lease_expires=None, **changes,
        )  # fmt: skip


def _set_or_refuse(
    change: Change, job_id: int, after: State, before: Collection[State], *, fix: str, **values: Any
) -> Job:
    job = read(change.session, job_id)
    if not set_state(change, job_id, after, before=before, **values):
        raise JobError(f"job {job_id} is {job.state}", where=job.name, fix=fix)
    return read(change.session, job_id)


def _first_position(change: Change) -> int:
    return change.session.execute(select(func.coalesce(func.min(JobRow.position), 0))).scalar_one()


def move(
    db: Database,
    job_id: int,
    *,
    before: int | None = None,
    after: int | None = None,
    to: Literal["front", "back"] | None = None,
) -> Job:
    """Put a waiting job right before or after another, or at either end of the queue.

    Raises:
        UnknownJobError: one of the two is not there.
        JobError: the job is not waiting.
    """
    if sum(value is not None for value in (before, after, to)) != 1:
        raise ValueError("give one of before, after, to")
    with db.changing() as change:
        job = read(change.session, job_id)
        if before == job_id or after == job_id:
            return job
        place = _free_place(change, before, after, to)
        moved = update(JobRow).where(JobRow.id == job_id, JobRow.state.in_(WAITING)).values(position=place)
        if not write(change, moved):
            change.session.rollback()
            raise JobError(f"job {job_id} is {job.state}", where=job.name, fix="only a waiting job can be moved.")
        return read(change.session, job_id)


def _free_place(change: Change, before: int | None, after: int | None, to: str | None) -> int:
    """A position that no job has: at an end, or beside another job, from which on all move up by one."""
    if to is not None:
        return _first_position(change) - 1 if to == "front" else last_position(change.session) + 1
    other = read(change.session, before if before is not None else after)  # type: ignore[arg-type]
    place = other.position + (after is not None)
    write(change, update(JobRow).where(JobRow.position >= place).values(position=JobRow.position + 1))
    return place


def pause_queue(db: Database, name: str) -> None:
    """Start nothing new there (`cpu`, `gpu:0`, ..., or `any`: jobs that asked for no device); what runs goes on."""
    _set_paused(db, name, paused=True)


def resume_queue(db: Database, name: str) -> None:
    """Start jobs there again."""
    _set_paused(db, name, paused=False)


def _set_paused(db: Database, name: str, *, paused: bool) -> None:
    with db.changing() as change:
        row = change.session.get(QueueRow, name)
        if row is None:
            change.session.add(QueueRow(name=name, paused=paused))
        else:
            row.paused = paused
        change.session.flush()
        change.made = True

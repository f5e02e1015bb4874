"""A supervisor's side of the database: claim a job, keep its lease, take over another's, write down what became of it.

Every statement says in its WHERE whose the job must be, so a supervisor that was taken over cannot write any more.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, Select, or_, select, update
from sqlalchemy.exc import IntegrityError

from slipstream.jobs.database import Database
from slipstream.jobs.job import ACTIVE, ANY, Job, State
from slipstream.jobs.models import JobRow, QueueRow
from slipstream.jobs.store import as_job, read
from slipstream.jobs.transitions import set_state, write


def active_jobs(db: Database) -> tuple[Job, ...]:
    """All jobs at which a worker is or may be."""
    with db.reading() as session:
        return tuple(as_job(row) for row in session.scalars(select(JobRow).where(JobRow.state.in_(ACTIVE))))


def claim(db: Database, device: str, *, takes_any: bool, owner: str, lease_seconds: float) -> Job | None:
    """The next job for a device, now `starting` and the owner's; None where there is none, or the device has a job.

    That a device has one job at a time is an index of the database, so it holds among any number of supervisors.
    """
    queues = (device, ANY) if takes_any else (device,)
    with db.reading() as session:
        if session.execute(_next(device, queues)).first() is None:
            return None
    try:
        with db.changing() as change:
            job_id = change.session.execute(_next(device, queues)).scalar_one_or_none()
            now = time.time()
            if job_id is None or not set_state(
                change, job_id, "starting", before=["queued"], device=device, attempt=JobRow.attempt + 1, owner=owner,
                started=now, heartbeat=now, lease_expires=now + lease_seconds, kill_at=None, exit_code=None,
            ):  # fmt: skip
                return None
            return read(change.session, job_id)
    except IntegrityError:
        return None


def _next(device: str, queues: Collection[str]) -> Select[int]:
    """The number of the first queued job of those queues, none of them paused."""
    paused = select(QueueRow.name).where(QueueRow.paused)
    return (
        select(JobRow.id)
        .where(JobRow.state == "queued", JobRow.queue.in_(queues), JobRow.queue.not_in(paused))
        .where(~select(QueueRow.name).where(QueueRow.paused, QueueRow.name == device).exists())
        .where(~select(JobRow.id).where(JobRow.state.in_(ACTIVE), JobRow.device == device).correlate(None).exists())
        .order_by(JobRow.position, JobRow.id)
        .limit(1)
    )


def renew(db: Database, job: Job, owner: str, lease_seconds: float) -> bool:
    """Keep a lease; returns whether the job is still the owner's."""
    return _lease(db, owner, lease_seconds, JobRow.id == job.id, JobRow.owner == owner)


def take_over(db: Database, job: Job, owner: str, lease_seconds: float) -> bool:
    """Take a job whose lease has run out; returns whether that came off."""
    holder = JobRow.owner.is_(None) if job.owner is None else JobRow.owner == job.owner
    expired = or_(JobRow.lease_expires.is_(None), JobRow.lease_expires < time.time())
    return _lease(db, owner, lease_seconds, JobRow.id == job.id, holder, expired)


def _lease(db: Database, owner: str, lease_seconds: float, *held: ColumnElement[bool]) -> bool:
    """Nothing that anyone is shown changes here, so the clock stays."""
    now = time.time()
    lease = update(JobRow).where(JobRow.state.in_(ACTIVE), *held)
    with db.engine.begin() as connection:
        result: CursorResult[Any] = connection.execute(
            lease.values(owner=owner, heartbeat=now, lease_expires=now + lease_seconds)
        )
        return result.rowcount > 0


def release_all(db: Database, owner: str) -> None:
    """Let others take over at once; the workers go on."""
    with db.engine.begin() as connection:
        connection.execute(update(JobRow).where(JobRow.owner == owner).values(lease_expires=0.0))


def still_owned(db: Database, job: Job, owner: str) -> bool:
    """Whether the job is, in this attempt, still the owner's."""
    with db.reading() as session:
        mine = select(JobRow.id).where(
            JobRow.id == job.id, JobRow.owner == owner, JobRow.attempt == job.attempt, JobRow.state.in_(ACTIVE)
        )
        return session.execute(mine).first() is not None


def settle(db: Database, job: Job, owner: str, after: State, **values: Any) -> bool:
    """Write down what became of the owner's job; returns whether it was still the owner's, and as we knew it."""
    if after not in ACTIVE:
        values |= {"owner": None, "lease_expires": None, "heartbeat": None, "kill_at": None}
        values["ended"] = None if after == "queued" else time.time()
    with db.changing() as change:
        return set_state(
            change, job.id, after, before=[job.state], if_owner=owner, if_attempt=job.attempt, **values
        )  # fmt: skip


def adopt_attempt(db: Database, job: Job, owner: str, attempt: int) -> bool:
    """The job runs already, in an earlier attempt whose worker was late: count that one."""
    with db.changing() as change:
        return set_state(
            change, job.id, "running", before=["starting"], if_owner=owner, if_attempt=job.attempt, attempt=attempt
        )


def note(db: Database, job: Job, owner: str, message: str) -> None:
    """Say why a job does not go on just now."""
    if job.message == message:
        return
    with db.changing() as change:
        mine = update(JobRow).where(JobRow.id == job.id, JobRow.owner == owner, JobRow.attempt == job.attempt)
        write(change, mine.values(message=message))

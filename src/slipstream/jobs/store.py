"""Jobs in the database: hand in, look up, list, delete. Every function takes an open `Database`."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Collection
from dataclasses import fields
from pathlib import Path
from typing import Literal, cast

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.orm import Session

from slipstream.core.errors import JobError, UnknownJobError
from slipstream.jobs.database import Database
from slipstream.jobs.job import ACTIVE, Job, JobPage, NewJob, State
from slipstream.jobs.models import ClockRow, JobRow, QueueRow
from slipstream.runs.layout import RunDir
from slipstream.runs.lock import require_idle

Order = Literal["queue", "newest"]
MAX_PAGE = 1000
_FIELDS = tuple(field.name for field in fields(Job))


def add(db: Database, new: NewJob) -> Job:
    """Put a job at the end of the queue.

    Raises:
        JobError: another job has this run folder.
    """
    with db.changing() as change:
        refuse_taken(change.session, new.run_dir)
        row = JobRow(
            token=uuid.uuid4().hex, name=new.name, kind=new.kind, payload=dict(new.payload),
            config_yaml=new.config_yaml, state="paused" if new.paused else "queued",
            position=last_position(change.session) + 1, queue=new.queue, run_dir=str(new.run_dir), created=time.time(),
            max_resumes=new.max_resumes, continues=new.continues, parent_id=new.parent_id, version=change.version,
        )  # fmt: skip
        change.session.add(row)
        change.session.flush()
        change.made = True
        return as_job(row)


def refuse_taken(session: Session, run_dir: Path) -> None:
    """Pass where no job has this run folder.

    Raises:
        JobError: one has.
    """
    other = session.execute(select(JobRow.id, JobRow.state).where(JobRow.run_dir == str(run_dir))).first()
    if other is not None:
        raise JobError(
            f"job {other.id} ({other.state}) already has this run folder", where=str(run_dir),
            fix="give another job.name; or requeue that job to go on with its run; or delete it first.",
        )  # fmt: skip


def last_position(session: Session) -> int:
    """The highest position in use, 0 where there is no job."""
    return session.execute(select(func.coalesce(func.max(JobRow.position), 0))).scalar_one()


def get(db: Database, job_id: int) -> Job:
    """The job as it is now.

    Raises:
        UnknownJobError: there is none with this number.
    """
    with db.reading() as session:
        return read(session, job_id)


def read(session: Session, job_id: int) -> Job:
    """`get` in an open session."""
    row = session.get(JobRow, job_id, populate_existing=True)
    if row is None:
        raise UnknownJobError(f"there is no job {job_id}", fix="`slipstream queue list` shows all.")
    return as_job(row)


def find_by_run(db: Database, run_dir: Path) -> Job | None:
    """The job that this run folder belongs to."""
    with db.reading() as session:
        row = session.execute(select(JobRow).where(JobRow.run_dir == str(run_dir))).scalar_one_or_none()
        return None if row is None else as_job(row)


def list_jobs(
    db: Database,
    *,
    states: Collection[State] = (),
    queue: str | None = None,
    kind: str | None = None,
    text: str = "",
    order: Order = "queue",
    offset: int = 0,
    limit: int = 100,
) -> JobPage:
    """A page of the jobs for which all that is given holds, in the queue's order or the newest first.

    `queue` is met by a job that asked for it or whose worker is (or last was) there; `text` by a part of the name.
    """
    wanted: list[ColumnElement[bool]] = []
    if states:
        wanted.append(JobRow.state.in_(states))
    if queue is not None:
        wanted.append(or_(JobRow.queue == queue, JobRow.device == queue))
    if kind is not None:
        wanted.append(JobRow.kind == kind)
    if text:
        wanted.append(JobRow.name.icontains(text, autoescape=True))
    by = (JobRow.position, JobRow.id) if order == "queue" else (JobRow.created.desc(), JobRow.id.desc())
    page = select(JobRow).where(*wanted).order_by(*by).offset(max(0, offset)).limit(min(limit, MAX_PAGE))
    with db.reading() as session:
        total = session.execute(select(func.count()).select_from(JobRow).where(*wanted)).scalar_one()
        jobs = tuple(as_job(row) for row in session.scalars(page))
        return JobPage(jobs, total, _version(session))


def count_by_state(db: Database) -> dict[State, int]:
    """How many jobs are in each state that any is in."""
    with db.reading() as session:
        rows = session.execute(select(JobRow.state, func.count()).group_by(JobRow.state)).all()
    return {cast("State", state): count for state, count in rows}


def delete_job(db: Database, job_id: int, *, files: bool = False) -> None:
    """Take a job out of the list; its run folder stays unless `files` is on.

    Raises:
        UnknownJobError: there is none with this number.
        JobError: a worker is at it.
        RunError: `files` is on and somebody trains the run.
    """
    with db.changing() as change:
        job = read(change.session, job_id)
        if files:
            require_idle(job.run)
        gone = delete(JobRow).where(JobRow.id == job_id, JobRow.state.not_in(ACTIVE))
        if change.session.execute(gone, execution_options={"synchronize_session": False}).rowcount == 0:  # type: ignore[attr-defined]
            raise JobError(f"job {job_id} is {job.state}", fix=f"stop it first: slipstream queue stop {job_id}")
        change.made = True
    if files:
        _delete_run(job.run)


def _delete_run(run: RunDir) -> None:
    """Remove the folder, if it is a run's: first out of the way by one rename, so that no half of it is left."""
    if not run.config.is_file() or run.path.is_symlink():
        return
    aside = run.path.with_name(f".{run.name}.deleted-{uuid.uuid4().hex[:8]}")
    run.path.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def version(db: Database) -> int:
    """How many changes there were. Where it is as before, nothing is new: ask this, not the list, now and then."""
    with db.reading() as session:
        return _version(session)


def _version(session: Session) -> int:
    return session.execute(select(ClockRow.version)).scalar_one()


def paused_queues(db: Database) -> frozenset[str]:
    """Names of the queues that start nothing now."""
    with db.reading() as session:
        return frozenset(session.execute(select(QueueRow.name).where(QueueRow.paused)).scalars())


def as_job(row: JobRow) -> Job:
    """The row as a plain value."""
    values = {name: getattr(row, name) for name in _FIELDS}
    return Job(**{**values, "run_dir": Path(row.run_dir)})

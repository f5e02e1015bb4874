"""The supervisor: its own process, which starts workers, one a device, and sees each job to its end.

It may be killed at any moment, and so may a worker: workers are no part of it but run in sessions of their own, and
what it knows it reads anew, in the database and in the run folders. `service` starts it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy.exc import DBAPIError

from slipstream.core.errors import RunBusyError, SlipstreamError
from slipstream.drawings.progress import make_room
from slipstream.drawings.room import room_in
from slipstream.jobs import leases
from slipstream.jobs.begin import WORKERS, begin
from slipstream.jobs.database import Database, is_passing
from slipstream.jobs.job import ACTIVE, CPU, ENDED, Job
from slipstream.jobs.places import home_dir
from slipstream.jobs.reconcile import Verdict, judge, look
from slipstream.launch.local import LocalWorker
from slipstream.launch.processes import kill_attempt
from slipstream.runs import controls
from slipstream.runs.attempts import read_worker, revoke_attempt
from slipstream.runs.lock import is_running
from slipstream.runs.progress import read_progress, write_progress

log = logging.getLogger(__name__)
_DRAWN_ON = "waits: the playground is giving its GPU back"


@dataclass(frozen=True)
class Rhythm:
    """Seconds: of a lease, between heartbeats, between looks."""

    lease: float = 15.0
    heartbeat: float = 4.0
    look: float = 1.0


@dataclass
class Supervisor:
    """One supervisor's name, its devices, and the workers it started itself."""

    db: Database
    devices: tuple[str, ...]
    rhythm: Rhythm = Rhythm()
    workers: Mapping[str, str] = field(default_factory=lambda: WORKERS)
    owner: str = field(default_factory=lambda: f"{os.getpid()}-{uuid.uuid4().hex[:12]}")
    children: dict[int, LocalWorker] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    """Jobs that could not begin because somebody else holds their run."""


def supervise(
    supervisor: Supervisor,
    ended: threading.Event,
    *,
    until_idle: bool = False,
    wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Look after the queue until `ended` is set or nobody wants it any more, or, if asked, until nothing runs and
    nothing can start.

    A database that does not answer for a while is waited for.
    """
    while not ended.is_set() and wanted():
        try:
            busy = look_once(supervisor)
            if until_idle and not busy:
                return
        except DBAPIError as error:
            if not is_passing(error):
                raise
            log.warning("the database does not answer, trying again: %s", error.orig)
        ended.wait(supervisor.rhythm.look)
    with contextlib.suppress(DBAPIError):
        leases.release_all(supervisor.db, supervisor.owner)


def look_once(supervisor: Supervisor) -> bool:
    """See to every job that runs, start what can be started; returns whether anything is there to be seen to."""
    active = leases.active_jobs(supervisor.db)
    for job in active:
        if _hold(supervisor, job):
            with _told(job):
                _see_to(supervisor, dataclasses.replace(job, owner=supervisor.owner))
    started = [_start_next(supervisor, device) for device in supervisor.devices]
    return bool(active) or any(started)


@contextmanager
def _told(job: Job) -> Iterator[None]:
    """What goes wrong with one job is told and tried again; the others go on."""
    try:
        yield
    except (SlipstreamError, OSError) as error:
        log.error("job %s (%s): %s", job.id, job.name, error)


def _hold(supervisor: Supervisor, job: Job) -> bool:
    """Whether the job is ours, its lease renewed where that is due; one that nobody holds any more becomes ours."""
    now = time.time()
    if job.owner == supervisor.owner:
        if now - (job.heartbeat or 0.0) < supervisor.rhythm.heartbeat:
            return True
        held = leases.renew(supervisor.db, job, supervisor.owner, supervisor.rhythm.lease)
        if not held:
            supervisor.children.pop(job.id, None)
        return held
    supervisor.children.pop(job.id, None)
    if job.lease_expires is not None and job.lease_expires >= now:
        return False
    taken = leases.take_over(supervisor.db, job, supervisor.owner, supervisor.rhythm.lease)
    if taken:
        log.info("job %s (%s): taken over while %s", job.id, job.name, job.state)
    return taken


def _see_to(supervisor: Supervisor, job: Job) -> None:
    if job.id in supervisor.waiting and job.state == "starting":
        _begin(supervisor, job)
        return
    supervisor.waiting.discard(job.id)
    worker = supervisor.children.get(job.id)
    verdict = judge(job, look(job, worker), time.time())
    if verdict.act == "ask to stop":
        controls.request(job.run, "stop")
    elif verdict.act == "kill":
        log.info("job %s (%s): killed, it had not stopped in time", job.id, job.name)
        if not kill_attempt(job.run, job.attempt_name) and worker is not None:
            worker.kill()
    elif verdict.act == "set":
        _settle(supervisor, job, verdict)


def _settle(supervisor: Supervisor, job: Job, verdict: Verdict) -> None:
    assert verdict.state is not None
    if verdict.revokes and not revoke_attempt(job.run, job.attempt_name):
        return
    more: dict[str, Any] = {"resumes": job.resumes + 1} if verdict.counts else {}
    if verdict.state not in ACTIVE:
        more |= {"exit_code": verdict.exit_code, "message": verdict.message}
        supervisor.children.pop(job.id, None)
    if leases.settle(supervisor.db, job, supervisor.owner, verdict.state, **more):
        log.info("job %s (%s): %s -> %s %s", job.id, job.name, job.state, verdict.state, verdict.message)
        if verdict.state in ENDED:
            _close_progress(job, verdict)


def _close_progress(job: Job, verdict: Verdict) -> None:
    """Write the end of a worker that could not do it itself, unless another one is at the run."""
    progress = read_progress(job.run)
    if progress is None or progress.state not in ("created", "running") or is_running(job.run):
        return
    state: Literal["stopped", "failed"] = "stopped" if verdict.state == "stopped" else "failed"
    with _told(job):
        write_progress(job.run, dataclasses.replace(progress, state=state, message=verdict.message))


def _start_next(supervisor: Supervisor, device: str) -> bool:
    """Start the next job of a device, if it is free; returns whether one was."""
    takes_any = device != CPU or set(supervisor.devices) == {CPU}
    job = leases.claim(
        supervisor.db, device, takes_any=takes_any, owner=supervisor.owner, lease_seconds=supervisor.rhythm.lease
    )
    if job is None:
        return False
    log.info("job %s (%s): attempt %s on %s", job.id, job.name, job.attempt, device)
    _begin(supervisor, job)
    return True


def _begin(supervisor: Supervisor, job: Job) -> None:
    supervisor.waiting.discard(job.id)
    if job.device not in (None, CPU) and not make_room(room_in(home_dir()), job.device):
        supervisor.waiting.add(job.id)
        leases.note(supervisor.db, job, supervisor.owner, _DRAWN_ON)
        return
    if job.message == _DRAWN_ON:
        leases.note(supervisor.db, job, supervisor.owner, "")
    try:
        worker = begin(job, lambda: leases.still_owned(supervisor.db, job, supervisor.owner), supervisor.workers)
    except RunBusyError:
        _wait_or_adopt(supervisor, job)
    except (SlipstreamError, OSError) as error:
        leases.settle(supervisor.db, job, supervisor.owner, "failed", message=str(error))
        log.error("job %s (%s): %s", job.id, job.name, error)
    else:
        if worker is not None:
            supervisor.children[job.id] = worker


def _wait_or_adopt(supervisor: Supervisor, job: Job) -> None:
    """Somebody holds the run: an earlier worker of this job, which then counts, or somebody else, who is waited for."""
    record = read_worker(job.run)
    token, _, number = ("" if record is None else record.attempt).rpartition("-")
    if token == job.token and record is not None and record.ended is None and is_running(job.run):
        leases.adopt_attempt(supervisor.db, job, supervisor.owner, int(number))
        log.info("job %s (%s): attempt %s runs already", job.id, job.name, number)
        return
    supervisor.waiting.add(job.id)
    leases.note(supervisor.db, job, supervisor.owner, "waits: somebody trains its run outside of the queue")

"""Doing something with a job of the queue, as its page's buttons name it."""

from __future__ import annotations

from slipstream.jobs import control, store, training_jobs
from slipstream.jobs.database import Database
from slipstream.jobs.job import Job
from slipstream.web.services.queue_board import Action, Lane, neighbours


def act(db: Database, job_id: int, action: Action, lane: Lane | None = None) -> Job | None:
    """Do it; returns the job as it is then, the new one of a copy, None where it was removed.

    `lane` is where the job was shown: up and down go by its neighbours there. At an end they do nothing.

    Raises:
        UnknownJobError: there is no such job any more.
        JobError: its state has changed meanwhile, so that this cannot be done.
    """
    if action in ("up", "down"):
        before, after = neighbours(lane, job_id) if lane is not None else (None, None)
        if action == "up" and before is not None:
            return control.move(db, job_id, before=before)
        if action == "down" and after is not None:
            return control.move(db, job_id, after=after)
        return store.get(db, job_id)
    if action == "remove":
        store.delete_job(db, job_id)
        return None
    if action == "clone":
        return training_jobs.clone(db, job_id)
    if action == "front":
        return control.move(db, job_id, to="front")
    simple = {"pause": control.pause, "resume": control.resume, "stop": control.stop, "kill": control.kill,
              "requeue": control.requeue}  # fmt: skip
    return simple[action](db, job_id)


def drop(db: Database, job_id: int, queue: str, before: int | None) -> Job:
    """Put a waiting job where it was dropped: right before another, or last; in another device's queue, if so.

    Raises:
        UnknownJobError: one of the two is not there any more.
        JobError: it does not wait, or it trains nothing and cannot change its device.
        ConfigError: its config asks for another device.
    """
    job = store.get(db, job_id)
    if job.queue != queue:
        job = training_jobs.edit(db, job_id, queue=queue)
    if before is not None:
        return control.move(db, job_id, before=before)
    return control.move(db, job_id, to="back")

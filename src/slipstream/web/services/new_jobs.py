"""Handing a config over to the queue, and changing one that waits there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream.web.problems import RefusedError
from slipstream.web.services.queue import add_training, queue_of, studio_config
from slipstream.web.settings import StudioSettings

if TYPE_CHECKING:
    from slipstream.jobs.job import Job


@dataclass(frozen=True)
class JobToEdit:
    """A job's config. `editable`: it waits, so that it can be changed itself; else only a copy of it can be made."""

    id: int
    name: str
    text: str
    editable: bool


def hand_over(settings: StudioSettings, text: str, *, first: bool) -> Job:
    """Put a config into the queue, in front of all others or behind them.

    Raises:
        ConfigError: settings are wrong.
        JobError: a run or a job has that name.
    """
    from slipstream.jobs import control

    # paused until it stands in front, so that no supervisor begins it on the way there
    job = add_training(settings, studio_config(settings, text), queue=None, paused=first, first=first)
    return control.resume(queue_of(settings), job.id) if first else job


def save_job(settings: StudioSettings, job_id: int, text: str) -> Job:
    """Give a waiting job another config.

    Raises:
        ConfigError: settings are wrong.
        JobError: it does not wait any more, or the name is taken.
    """
    from slipstream.config.run_config import dump_yaml
    from slipstream.jobs.training_jobs import edit

    return edit(queue_of(settings), job_id, config_yaml=dump_yaml(studio_config(settings, text)))


def job_to_edit(settings: StudioSettings, job_id: int) -> JobToEdit:
    """A job by its number.

    Raises:
        UnknownJobError: there is none.
        RefusedError: it trains nothing (409).
    """
    from slipstream.jobs import store
    from slipstream.jobs.job import WAITING

    job = store.get(queue_of(settings), job_id)
    if job.kind != "train":
        raise RefusedError(409, "this job trains nothing and has no config", where=job.name)
    return JobToEdit(job.id, job.name, job.config_yaml, job.state in WAITING)


def job_of_run(settings: StudioSettings, run_dir: Path) -> Job | None:
    """The job that a run folder belongs to."""
    from slipstream.jobs import store

    return store.find_by_run(queue_of(settings), run_dir)

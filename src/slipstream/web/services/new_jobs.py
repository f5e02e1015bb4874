"""Handing a config over to the queue, and changing one that waits there."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream.web.problems import RefusedError
from slipstream.web.services.configs import read_config
from slipstream.web.services.form.draft import changed, read_draft
from slipstream.web.services.form.values import MISSING
from slipstream.web.settings import StudioSettings

if TYPE_CHECKING:
    from slipstream.jobs.database import Database
    from slipstream.jobs.job import Job

_LOCK = threading.Lock()
_OPEN: dict[str, Database] = {}
"""Open queues by URL: one a process."""


@dataclass(frozen=True)
class JobToEdit:
    """A job's config. `editable`: it waits, so that it can be changed itself; else only a copy of it can be made."""

    id: int
    name: str
    text: str
    editable: bool


def queue_of(settings: StudioSettings) -> Database:
    """The studio's queue, opened once.

    Raises:
        JobError: it cannot be opened.
    """
    from slipstream.jobs.database import open_database

    url = _url(settings)
    with _LOCK:
        if url not in _OPEN:
            _OPEN[url] = open_database(url)
        return _OPEN[url]


def _url(settings: StudioSettings) -> str:
    from slipstream.jobs.places import database_url

    return settings.database_url or database_url(settings.home.resolve())


def hand_over(settings: StudioSettings, text: str, *, first: bool) -> Job:
    """Put a config into the queue, in front of all others or behind them, and see that somebody works through it.

    Raises:
        ConfigError: settings are wrong.
        JobError: a run or a job has that name.
    """
    from slipstream.jobs import control, store
    from slipstream.jobs.service import ensure_supervisor
    from slipstream.jobs.training_jobs import training_job

    db = queue_of(settings)
    job = store.add(db, training_job(read_config(_placed(settings, text), settings.datasets_dir), paused=first))
    if first:  # paused until it stands in front, so that no other is begun meanwhile as if it were the first
        control.move(db, job.id, to="front")
        job = control.resume(db, job.id)
    ensure_supervisor(settings.home.resolve(), _url(settings))
    return job


def save_job(settings: StudioSettings, job_id: int, text: str) -> Job:
    """Give a waiting job another config.

    Raises:
        ConfigError: settings are wrong.
        JobError: it does not wait any more, or the name is taken.
    """
    from slipstream.config.run_config import dump_yaml
    from slipstream.jobs.training_jobs import edit

    config = read_config(_placed(settings, text), settings.datasets_dir)
    return edit(queue_of(settings), job_id, config_yaml=dump_yaml(config))


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


def _placed(settings: StudioSettings, text: str) -> str:
    """The config with the studio's folder of runs, unless it names another."""
    draft = read_draft(text)
    if draft.unreadable is None and draft.given("job.output_dir") is MISSING:
        draft = changed(draft, "job.output_dir", str(settings.runs_dir.resolve()))
    return draft.text


def job_of_run(settings: StudioSettings, run_dir: Path) -> Job | None:
    """The job that a run folder belongs to."""
    from slipstream.jobs import store

    return store.find_by_run(queue_of(settings), run_dir)

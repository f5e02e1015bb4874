"""The studio's queue: its database, opened once, and the supervisor that works it off."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipstream.config.run_config import RunConfig
from slipstream.core.errors import SlipstreamError
from slipstream.web.services.configs import read_config, read_values
from slipstream.web.settings import StudioSettings

if TYPE_CHECKING:
    from slipstream.jobs.database import Database
    from slipstream.jobs.job import Job

_SECONDS_FOR_THE_FIRST_PAGE = 1.0
_LOCK = threading.Lock()
_OPEN: dict[str, Database] = {}
"""Open queues by URL: one a process."""


def queue_of(settings: StudioSettings) -> Database:
    """The studio's queue, opened at the first call.

    Raises:
        JobError: it cannot be opened.
    """
    from slipstream.jobs.database import open_database
    from slipstream.jobs.places import database_url

    url = settings.database_url or database_url(settings.home)
    with _LOCK:
        if url not in _OPEN:
            _OPEN[url] = open_database(url)
        return _OPEN[url]


@dataclass(frozen=True)
class QueueState:
    """One queue: jobs of a device, or `any`. `paused`: it starts nothing now."""

    name: str
    paused: bool
    device: str
    """The GPU's name, "" for the CPU and for `any`."""


@dataclass(frozen=True)
class QueueOverview:
    """All queues, jobs by state, and whether a supervisor works them off."""

    queues: tuple[QueueState, ...]
    counts: dict[str, int]
    supervised: bool
    version: int
    """Changes with every change of any job: ask for the list again only then."""


def overview(settings: StudioSettings) -> QueueOverview:
    """How the queue stands."""
    from slipstream.jobs import store
    from slipstream.jobs.devices import find_gpus, queue_names
    from slipstream.jobs.job import ANY
    from slipstream.jobs.service import find_supervisor

    db = queue_of(settings)
    gpus = find_gpus()
    paused = store.paused_queues(db)
    devices = {gpu.queue: gpu.name for gpu in gpus}
    names = dict.fromkeys((ANY, *queue_names(gpus), *sorted(paused)))
    return QueueOverview(
        queues=tuple(QueueState(name, name in paused, devices.get(name, "")) for name in names),
        counts={str(state): count for state, count in store.count_by_state(db).items()},
        supervised=find_supervisor(settings.home) is not None,
        version=store.version(db),
    )


def studio_config(settings: StudioSettings, given: str | Mapping[str, Any]) -> RunConfig:
    """A config for the queue: trained in the studio's folder of runs unless it names another.

    Raises:
        ConfigError: with every setting that is wrong.
    """
    value = read_values(given) if isinstance(given, str) else given
    if isinstance(value, Mapping) and isinstance(job := value.get("job"), Mapping) and "output_dir" not in job:
        value = {**value, "job": {**job, "output_dir": str(settings.runs_dir)}}
    return read_config(value, settings.datasets_dir)


def add_training(
    settings: StudioSettings, config: RunConfig, *, queue: str | None, paused: bool, first: bool
) -> Job:  # fmt: skip
    """Put a training into the queue.

    Raises:
        JobError: a run or a job has that name.
        ConfigError: queue and `job.device` contradict each other.
    """
    from slipstream.jobs import control, store
    from slipstream.jobs.training_jobs import training_job

    db = queue_of(settings)
    job = store.add(db, training_job(config, queue=queue, paused=paused))
    return control.move(db, job.id, to="front") if first else job


def continue_run(settings: StudioSettings, run_dir: Path, *, steps: int | None, queue: str | None) -> Job:
    """Let a run go on: its own job is put back, or a job is made for it; with `steps` it trains up to so many.

    Raises:
        JobError: a worker is at it, or waits to be.
        ConfigError: the number of steps is wrong.
    """
    from slipstream.jobs import control, store
    from slipstream.jobs.training_jobs import job_of_run, with_settings

    db = queue_of(settings)
    overrides = [] if steps is None else [f"training.steps={steps}"]
    job = store.find_by_run(db, run_dir)
    if job is None:
        new = job_of_run(run_dir, queue=queue, paused=True)
        job = store.add(db, new)
        if overrides:
            _with_config(settings, job, with_settings(job, overrides))
        return control.resume(db, job.id)
    return control.requeue(db, job.id, config_yaml=with_settings(job, overrides) if overrides else None)


def _with_config(settings: StudioSettings, job: Job, config_yaml: str) -> None:
    from slipstream.jobs import store
    from slipstream.jobs.training_jobs import edit

    db = queue_of(settings)
    try:
        edit(db, job.id, config_yaml=config_yaml)
    except SlipstreamError:
        store.delete_job(db, job.id)
        raise


def keep_supervised(settings: StudioSettings, ended: threading.Event, seconds: float = 10.0) -> None:
    """See to it that a supervisor lives until the event is set; where one dies, the next is started."""
    if ended.wait(_SECONDS_FOR_THE_FIRST_PAGE):
        return
    from slipstream.jobs.service import ensure_supervisor

    while True:
        try:
            ensure_supervisor(settings.home, settings.database_url)
        except SlipstreamError as error:
            logging.getLogger(__name__).warning("%s", error)
        if ended.wait(seconds):
            return

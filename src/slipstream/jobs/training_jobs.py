"""Training jobs from configs: new ones, ones that go on with a run, copies, and edits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import update

from slipstream.config.run_config import RunConfig, config_from_run, dump_yaml, parse_config
from slipstream.config.yaml_text import read_yaml
from slipstream.core.errors import ConfigError, JobError
from slipstream.jobs import store
from slipstream.jobs.database import Database
from slipstream.jobs.job import ANY, CPU, WAITING, Job, NewJob
from slipstream.jobs.models import JobRow
from slipstream.jobs.transitions import write
from slipstream.runs.create import has_results, open_run, run_called
from slipstream.runs.layout import RunDir

_QUEUE = re.compile(r"any|cpu|gpu:\d+")


def config_from_text(text: str, base_dir: Path | None = None) -> RunConfig:
    """A config from YAML text; relative paths of datasets start at `base_dir` (default: the current directory).

    Raises:
        ConfigError: no YAML, or settings are wrong.
    """
    value = read_yaml(text, "config")
    if not isinstance(value, Mapping):
        raise ConfigError("got no panels, expected at least `job` and `datasets`", where="config")
    return parse_config(value, base_dir=base_dir or Path.cwd())


def training_job(config: RunConfig, *, queue: str | None = None, paused: bool = False, max_resumes: int = 1) -> NewJob:
    """A job that trains this config in a run folder of its own, `job.output_dir/job.name`.

    The queue is by default what `job.device` asks for: `cpu`, `gpu:N` for `cuda:N`, else `any`.

    Raises:
        ConfigError: queue and `job.device` contradict each other.
        JobError: there is a run with results in that folder.
    """
    config, queue = _placed(config, queue)
    run = run_called(Path(config.job.output_dir), config.job.name)
    if run.path.is_dir() and has_results(run):
        raise JobError(
            f"there is already a run called {run.name!r}", where=str(run.path),
            fix="go on with it (slipstream queue add RUN_FOLDER), or give another job.name.",
        )  # fmt: skip
    return NewJob(
        name=config.job.name, run_dir=run.path, config_yaml=dump_yaml(config), queue=queue, paused=paused,
        max_resumes=max_resumes,
    )  # fmt: skip


def job_of_run(path: Path, *, queue: str | None = None, paused: bool = False, max_resumes: int = 1) -> NewJob:
    """A job that goes on with a run folder, one that `slipstream train` made, say.

    Raises:
        RunError: it is no run folder.
        ConfigError: its config is damaged, or queue and `job.device` contradict each other.
    """
    run = open_run(path)
    config, queue = _placed(config_from_run(run.config), queue)
    return NewJob(
        name=run.name, run_dir=run.path, config_yaml=dump_yaml(config), queue=queue, paused=paused,
        max_resumes=max_resumes, continues=True,
    )  # fmt: skip


def _placed(config: RunConfig, queue: str | None) -> tuple[RunConfig, str]:
    """The config with an absolute folder for runs and no number of a GPU (its worker sees one only), and its queue."""
    wanted = _queue_of(config.job.device)
    queue = queue or wanted
    if not _QUEUE.fullmatch(queue):
        raise ConfigError(f"got {queue!r}, expected any, cpu or gpu:N", where="queue")
    if (wanted != ANY and queue != wanted) or (config.job.device == "cuda" and queue == CPU):
        raise ConfigError(
            f"got {config.job.device!r}, but the job is for the queue {queue!r}", where="job.device",
            fix="set it to auto, or choose the queue that fits.",
        )  # fmt: skip
    changes: dict[str, Any] = {"output_dir": Path(config.job.output_dir).expanduser().resolve()}
    if config.job.device.startswith("cuda:"):
        changes["device"] = "cuda"
    return config.model_copy(update={"job": config.job.model_copy(update=changes)}), queue


def _queue_of(device: str) -> str:
    if device == "cpu":
        return CPU
    return f"gpu:{device.removeprefix('cuda:')}" if device.startswith("cuda:") else ANY


def clone(
    db: Database, job_id: int, *, name: str | None = None, config_yaml: str | None = None, paused: bool = True
) -> Job:
    """A new training job like another one, under the name given or the next that is free (`anna_2`); paused unless told
    otherwise, so that it can be edited first.

    Raises:
        UnknownJobError: there is none with this number.
        JobError: it trains nothing, or the name is taken.
        ConfigError: the config is wrong.
    """
    parent = _training(store.get(db, job_id))
    config = config_from_text(config_yaml or parent.config_yaml)
    new_name = name or _free_name(db, RunDir(parent.run_dir.with_name(config.job.name)))
    config = config.model_copy(update={"job": config.job.model_copy(update={"name": new_name})})
    made = training_job(config_from_text(dump_yaml(config)), queue=parent.queue, paused=paused,
                        max_resumes=parent.max_resumes)  # fmt: skip
    return store.add(db, NewJob(**{**vars(made), "parent_id": parent.id}))


def _training(job: Job) -> Job:
    if job.kind != "train":
        raise JobError(f"job {job.id} is of the kind {job.kind!r} and has no config", where=job.name)
    return job


def _free_name(db: Database, run: RunDir) -> str:
    stem = re.sub(r"_\d+$", "", run.name)
    number = 2
    while (path := run.path.with_name(f"{stem}_{number}")).exists() or store.find_by_run(db, path) is not None:
        number += 1
    return path.name


def edited_yaml(job: Job, config_yaml: str) -> NewJob:
    """The job with another config, as it would be handed in; a run that has begun keeps its name and place.

    Raises:
        ConfigError: the config is wrong, or contradicts the job's queue.
        JobError: name or place of a run that has begun would change, or the new place is taken.
    """
    config = config_from_text(config_yaml)
    placed, _ = _placed(config, job.queue)
    run = run_called(Path(placed.job.output_dir), placed.job.name)
    if run.path == job.run_dir:
        return NewJob(job.name, job.run_dir, config_yaml=dump_yaml(placed), queue=job.queue)
    if job.attempt or job.continues:
        raise JobError(
            f"the run of job {job.id} has begun and keeps its name and place", where="job.name",
            fix="clone the job to train under another name.",
        )  # fmt: skip
    return training_job(config, queue=job.queue)


def edit(
    db: Database, job_id: int, *, config_yaml: str | None = None, queue: str | None = None,
    max_resumes: int | None = None,
) -> Job:  # fmt: skip
    """Change a training job that waits.

    Raises:
        UnknownJobError: there is none with this number.
        JobError: it is not waiting, or see `edited_yaml`.
        ConfigError: the config is wrong, or contradicts the queue.
    """
    job = _training(store.get(db, job_id))
    wanted = Job(**{**vars(job), "queue": queue or job.queue})
    new = edited_yaml(wanted, config_yaml or job.config_yaml)
    with db.changing() as change:
        if new.run_dir != job.run_dir:
            store.refuse_taken(change.session, new.run_dir)
        statement = (
            update(JobRow)
            .where(JobRow.id == job_id, JobRow.state.in_(WAITING), JobRow.attempt == job.attempt)
            .values(
                name=new.name, run_dir=str(new.run_dir), config_yaml=new.config_yaml, queue=new.queue,
                max_resumes=job.max_resumes if max_resumes is None else max_resumes,
            )
        )  # fmt: skip
        if not write(change, statement):
            now = store.read(change.session, job_id)
            raise JobError(f"job {job_id} is {now.state}", where=job.name, fix="only a waiting job can be edited.")
        return store.read(change.session, job_id)


def with_settings(job: Job, overrides: list[str]) -> str:
    """The job's config with settings over its own, such as `training.steps=4000`, as YAML.

    Raises:
        ConfigError: a setting is wrong.
    """
    value = read_yaml(job.config_yaml, f"job {job.id}")
    return dump_yaml(parse_config(value, overrides, source=f"job {job.id}", base_dir=Path.cwd()))

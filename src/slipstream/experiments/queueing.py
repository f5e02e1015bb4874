"""An experiment and the queue: its runs are handed in pair by pair, and handed in again where they stopped."""

from __future__ import annotations

from slipstream.config.differences import differences
from slipstream.config.run_config import config_from_run
from slipstream.core.errors import JobError
from slipstream.experiments.arms import settings_of
from slipstream.experiments.experiment import Experiment, PlannedRun
from slipstream.experiments.standing import FindJob, is_finished
from slipstream.jobs import control, store
from slipstream.jobs.database import Database
from slipstream.jobs.job import ACTIVE, WAITING
from slipstream.jobs.training_jobs import job_of_run, training_job
from slipstream.runs.create import has_results
from slipstream.runs.lock import is_running


def hand_in(db: Database, experiment: Experiment, *, queue: str | None = None) -> int:
    """Put every run that is not finished and does not wait already into the queue; returns how many that were.

    One that stopped or failed goes on from its newest checkpoint.

    Raises:
        JobError: a run of that name is another training's.
        ConfigError: queue and `job.device` contradict each other.
    """
    return sum(_hand_in(db, experiment, planned, queue) for planned in experiment.runs)


def _hand_in(db: Database, experiment: Experiment, planned: PlannedRun, queue: str | None) -> bool:
    run = experiment.run_dir(planned)
    _require_own(experiment, planned)
    if is_finished(run):
        return False
    job = store.find_by_run(db, run.path)
    if job is None and not is_running(run):
        continues = run.path.is_dir() and has_results(run)
        new = job_of_run(run.path, queue=queue) if continues else training_job(experiment.config(planned), queue=queue)
        store.add(db, new)
        return True
    if job is None or job.state in (*WAITING, *ACTIVE):
        return False
    control.requeue(db, job.id)
    return True


def _require_own(experiment: Experiment, planned: PlannedRun) -> None:
    """Pass where the run's folder is empty or holds this experiment's training."""
    run = experiment.run_dir(planned)
    if not run.config.is_file() or not has_results(run):
        return
    there = config_from_run(run.config)
    other = differences([settings_of(there), experiment.arms[planned.arm].settings])
    strange = [one.setting for one in other if one.setting != "job.device"]
    if strange or there.job.seed != planned.seed:
        raise JobError(
            f"the run {run.name!r} is there and was trained with other settings ({', '.join(strange) or 'job.seed'})",
            where=str(run.path), fix="move it aside, or give the experiment another name with --name.",
        )  # fmt: skip


def job_finder(db: Database) -> FindJob:
    """How the queue tells whose run a folder is."""
    return lambda path: store.find_by_run(db, path)

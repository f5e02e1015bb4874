"""An experiment and the queue: its runs are handed in pair by pair, and handed in again where they stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from slipstream.config.differences import differences
from slipstream.config.run_config import config_from_run
from slipstream.core.errors import JobError
from slipstream.experiments.arms import settings_of
from slipstream.experiments.experiment import Experiment, PlannedRun
from slipstream.jobs import control, store
from slipstream.jobs.database import Database
from slipstream.jobs.job import ACTIVE, WAITING, Job
from slipstream.jobs.training_jobs import job_of_run, training_job
from slipstream.runs.create import has_results
from slipstream.runs.layout import RunDir
from slipstream.runs.lock import is_running
from slipstream.runs.progress import Progress, read_progress

State = Literal["new", "queued", "paused", "running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class Standing:
    """How a run of an experiment stands: `new` where nobody has handed it in.

    `job` is its number in the queue; `progress` what its worker last wrote.
    """

    planned: PlannedRun
    state: State
    job: int | None
    progress: Progress

    @property
    def over(self) -> bool:
        """Whether nothing more comes by itself."""
        return self.state in ("new", "paused", "finished", "stopped", "failed")


def is_finished(run: RunDir) -> bool:
    """Whether the run was trained to its end and its LoRA is there."""
    progress = read_progress(run)
    return progress is not None and progress.state == "finished" and run.lora.is_file()


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


def standings(db: Database | None, experiment: Experiment) -> tuple[Standing, ...]:
    """How every run stands; without a queue, as far as the run folders tell."""
    return tuple(_standing(db, experiment, planned) for planned in experiment.runs)


def _standing(db: Database | None, experiment: Experiment, planned: PlannedRun) -> Standing:
    run = experiment.run_dir(planned)
    progress = read_progress(run) or Progress()
    job = None if db is None else store.find_by_run(db, run.path)
    return Standing(planned, _state(run, progress, job), None if job is None else job.id, progress)


def _state(run: RunDir, progress: Progress, job: Job | None) -> State:
    if is_finished(run):
        return "finished"
    if is_running(run):
        return "running"
    if job is not None:
        return "running" if job.state in ACTIVE else _WORDS.get(job.state, "queued")
    if not run.config.is_file():
        return "new"
    return "failed" if progress.state == "failed" else "stopped"


_WORDS: dict[str, State] = {"queued": "queued", "paused": "paused", "failed": "failed", "stopped": "stopped",
                            "finished": "stopped"}  # fmt: skip
"""States of a job whose run is not finished; a job that ended well without a LoRA was cut short."""


def counted(found: Sequence[Standing]) -> dict[State, int]:
    """How many runs are in each state that any is in."""
    states = [one.state for one in found]
    return {state: states.count(state) for state in dict.fromkeys(states)}

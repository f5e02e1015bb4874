"""How the runs of an experiment stand: from their folders, and from their jobs where a queue can be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slipstream.experiments.experiment import Experiment, PlannedRun
from slipstream.jobs.job import ACTIVE, Job
from slipstream.runs.layout import RunDir
from slipstream.runs.lock import is_running
from slipstream.runs.progress import Progress, read_progress

State = Literal["new", "queued", "paused", "running", "finished", "stopped", "failed"]
FindJob = Callable[[Path], Job | None]
"""The job that a run folder belongs to: `store.find_by_run` of an open queue."""


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


def standings(find_job: FindJob | None, experiment: Experiment) -> tuple[Standing, ...]:
    """How every run stands; without a queue (None), as far as the run folders tell."""
    return tuple(_standing(find_job, experiment, planned) for planned in experiment.runs)


def _standing(find_job: FindJob | None, experiment: Experiment, planned: PlannedRun) -> Standing:
    run = experiment.run_dir(planned)
    progress = read_progress(run) or Progress()
    job = None if find_job is None else find_job(run.path)
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

"""The training loop: read it top to bottom. Side activities start "once in a while"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from slipstream.training.checkpoint import TrainingState


class Requests(Protocol):
    """What the outside may ask for while training."""

    def stop(self) -> bool:
        """Whether to save and stop now (a signal or the stop control)."""

    def save(self) -> bool:
        """Whether a save was asked for since the last call."""

    def preview(self) -> bool:
        """Whether previews were asked for since the last call."""


@dataclass(frozen=True)
class TrainingJob:
    """Everything the loop calls, composed in `build.py`. `*_every` 0 = only at the end (`validate` at the start too).

    `measure_drift` comes before whatever else is due: what it decides is saved with the step.

    `update` begins an update and may still be waiting for the figures of the one before; `settle` waits for all of
    them and comes before whatever looks at the state. `preview`, `validate`, `measure_drift` and `sweep` (the pictures
    at other LoRA weights, after the last step) return False where a stop cut them short.
    """

    state: TrainingState
    steps: int
    save_every: int
    preview_every: int
    preview_at_start: bool
    update: Callable[[], None]
    settle: Callable[[], None]
    save: Callable[[], None]
    preview: Callable[[], bool]
    sweep: Callable[[], bool]
    finish: Callable[[], None]
    requests: Requests
    validate_every: int = 0
    validate: Callable[[], bool] = lambda: True
    drift_every: int = 0
    measure_drift: Callable[[], bool] = lambda: True


def train(job: TrainingJob) -> bool:
    """Train to the last step; returns True when finished, False when stopped on request (saved, resumable).

    After a resume, measurements and pictures that were due at the restored step are made if they are missing.
    """
    state = job.state
    if _opens_with_drift(job) and not job.measure_drift():
        return False
    if _opens_with_validation(job) and not job.validate():
        return False
    if _opens_with_previews(job) and not job.preview():
        return False
    if _goes_on(job) and job.requests.stop():
        return False
    while _goes_on(job):
        job.update()
        last = state.step == job.steps
        if job.requests.stop() and not last:
            job.settle()
            job.save()
            return False
        measures = _due(state.step, job.drift_every) or last
        saves = job.requests.save() or _due(state.step, job.save_every) or last
        validates = _due(state.step, job.validate_every) or last
        previews = job.requests.preview() or _due(state.step, job.preview_every) or last
        if measures or saves or validates or previews:
            job.settle()
        if measures and not job.measure_drift():
            job.save()
            return False
        if state.ended_early:
            saves = validates = previews = True
        if saves:
            job.save()
        if validates and not job.validate():
            job.save()
            return False
        if previews and not job.preview():
            job.save()
            return False
    if not job.sweep():
        return False
    job.finish()
    return True


def _goes_on(job: TrainingJob) -> bool:
    return job.state.step < job.steps and not job.state.ended_early


def _opens_with_previews(job: TrainingJob) -> bool:
    step = job.state.step
    return job.preview_at_start if step == 0 else not _goes_on(job) or _due(step, job.preview_every)


def _opens_with_validation(job: TrainingJob) -> bool:
    step = job.state.step
    return step == 0 or not _goes_on(job) or _due(step, job.validate_every)


def _opens_with_drift(job: TrainingJob) -> bool:
    step = job.state.step
    return step > 0 and (step == job.steps or _due(step, job.drift_every))


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0

"""The training loop: read it top to bottom. Side activities start "once in a while"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from slipstream.training.checkpoint import TrainingState
from slipstream.training.step import StepResult


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
    """Everything the loop calls, composed in `build.py`. `*_every` 0 = only at the end."""

    state: TrainingState
    steps: int
    save_every: int
    preview_every: int
    preview_at_start: bool
    update: Callable[[], StepResult]
    log_step: Callable[[int, StepResult], None]
    save: Callable[[], None]
    preview: Callable[[], None]
    finish: Callable[[], None]
    requests: Requests


def train(job: TrainingJob) -> bool:
    """Train to the last step; returns True when finished, False when stopped on request (saved, resumable).

    After a resume, pictures that were due at the restored step are drawn if they are missing.
    """
    state = job.state
    if (state.step == 0 and job.preview_at_start) or (state.step > 0 and _due(state.step, job.preview_every)):
        job.preview()
    while state.step < job.steps:
        result = job.update()
        job.log_step(state.step, result)
        stopping = job.requests.stop()
        if stopping or job.requests.save() or _due(state.step, job.save_every) or state.step == job.steps:
            job.save()
        if stopping and state.step < job.steps:
            return False
        if job.requests.preview() or _due(state.step, job.preview_every) or state.step == job.steps:
            job.preview()
    job.finish()
    return True


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0

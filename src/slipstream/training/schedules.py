"""Learning-rate schedules as pure functions of the update number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

LrSchedule = Literal["constant", "cosine", "linear", "polynomial", "cosine_restarts", "rex"]


@dataclass(frozen=True)
class Schedule:
    """How the learning rate moves over a run, as plain values.

    Attributes:
        name: one of `LrSchedule`.
        steps: updates of the run.
        warmup_steps: updates over which the rate rises.
        min_fraction: where a falling schedule ends, as a share of the rate.
        restarts: how often `cosine_restarts` starts anew; 0 makes it `cosine`.
        power: exponent of `polynomial`.
    """

    name: str
    steps: int
    warmup_steps: int = 0
    min_fraction: float = 0.0
    restarts: int = 3
    power: float = 2.0


def learning_rate_factor(schedule: Schedule, step: int) -> float:
    """Factor on the learning rate for update `step` (0-based).

    Warm-up rises linearly from 1/warmup to 1 over `warmup_steps` updates; then, with p in [0, 1) the progress over the
    rest, the shape falls from 1 to `min_fraction`:

    - `constant` 1; `linear` 1 - p (a decay); `polynomial` (1 - p)^power; `cosine` (1 + cos pi p) / 2
    - `cosine_restarts` the cosine `restarts` + 1 times over
    - `rex` (1 - p) / (1 - p / 2), Chen et al. 2021 (arXiv 2107.04197)

    Raises:
        ValueError: an unknown schedule.
    """
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    progress = (step - schedule.warmup_steps) / max(1, schedule.steps - schedule.warmup_steps)
    return schedule.min_fraction + (1 - schedule.min_fraction) * _shape(schedule, min(1.0, progress))


def _shape(schedule: Schedule, p: float) -> float:
    if schedule.name == "constant":
        return 1.0
    if schedule.name == "linear":
        return 1 - p
    if schedule.name == "polynomial":
        return float((1 - p) ** schedule.power)
    if schedule.name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * p))
    if schedule.name == "cosine_restarts":
        # the very end belongs to the last fall, not to one more start
        return 0.5 * (1 + math.cos(math.pi * ((p * (schedule.restarts + 1)) % 1.0 if p < 1 else 1.0)))
    if schedule.name == "rex":
        return (1 - p) / (1 - p / 2)
    raise ValueError(f"unknown learning-rate schedule {schedule.name!r}")

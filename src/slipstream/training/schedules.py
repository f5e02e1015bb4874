"""Learning-rate schedules as pure functions of the update number."""

from __future__ import annotations

import math
from typing import Literal

LrSchedule = Literal["constant", "cosine", "linear", "polynomial", "cosine_restarts", "rex"]
NUM_RESTARTS = 4
POWER = 2.0


def learning_rate_factor(schedule: str, step: int, steps: int, warmup_steps: int, min_fraction: float) -> float:
    """Factor on the learning rate for update `step` (0-based) of `steps`.

    Warm-up rises linearly from 1/warmup to 1 over `warmup_steps` updates; then, with p in [0, 1) the progress over the
    rest, the shape falls from 1 to `min_fraction`:

    - `constant` 1; `linear` 1 - p (a decay); `polynomial` (1 - p)^2; `cosine` (1 + cos pi p) / 2
    - `cosine_restarts` the cosine four times over
    - `rex` (1 - p) / (1 - p / 2), Chen et al. 2021 (arXiv 2107.04197)

    Raises:
        ValueError: an unknown schedule.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return min_fraction + (1 - min_fraction) * _shape(schedule, min(1.0, progress))


def _shape(schedule: str, p: float) -> float:
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return 1 - p
    if schedule == "polynomial":
        return float((1 - p) ** POWER)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * p))
    if schedule == "cosine_restarts":
        return 0.5 * (1 + math.cos(math.pi * ((p * NUM_RESTARTS) % 1.0)))
    if schedule == "rex":
        return (1 - p) / (1 - p / 2)
    raise ValueError(f"unknown learning-rate schedule {schedule!r}")

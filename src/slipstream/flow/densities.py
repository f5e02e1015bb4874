"""Which noise levels a training step draws: a table of 1000 levels and a way of choosing an index.

Index i = 0..999 runs from most noise to least; `T[i]` is the timestep and sigma = T[i] / 1000. The type sets the table,
the bias sets how the index is drawn, so the two compose. Formulas: the conventions of ai-toolkit's users
(`linear`, `sigmoid`, `weighted`, `shift`; High Noise = i 1000 r^3, Low Noise = i 1000 (1 - r^3)).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor

TimestepType = Literal["linear", "sigmoid", "weighted", "shift"]
TimestepBias = Literal["balanced", "high_noise", "low_noise"]

NUM_LEVELS = 1000
SHIFT = 3.0


@lru_cache(maxsize=8)
def sigma_table(timestep_type: str) -> Tensor:
    """The 1000 sigmas (fp32, falling) of a type.

    - `linear`, `weighted`: T = linspace(1000, 1, 1000).
    - `sigmoid`: quantiles of the logit-normal(0, 1) distribution, so a uniform index draws exactly that density.
    - `shift`: s -> 3 s / (1 + 2 s), the schedule Turbo samples with.

    Raises:
        ValueError: an unknown type.
    """
    linear = torch.linspace(1.0, 1 / NUM_LEVELS, NUM_LEVELS, dtype=torch.float64)
    if timestep_type in ("linear", "weighted"):
        return linear.float()
    if timestep_type == "shift":
        return (SHIFT * linear / (1 + (SHIFT - 1) * linear)).float()
    if timestep_type == "sigmoid":
        quantile = (NUM_LEVELS - torch.arange(NUM_LEVELS, dtype=torch.float64) - 0.5) / NUM_LEVELS
        return torch.sigmoid(torch.special.ndtri(quantile)).float()
    raise ValueError(f"unknown timestep type {timestep_type!r}; known: {', '.join(get_args(TimestepType))}")


def draw_indices(timestep_bias: str, count: int, generator: torch.Generator) -> Tensor:
    """`count` indices in 0..999 (int64, CPU).

    `balanced` uniform; `high_noise` floor(1000 r^3), which gathers at small indices; `low_noise` its mirror.

    Raises:
        ValueError: an unknown bias.
    """
    r = torch.rand(count, generator=generator, dtype=torch.float64)
    if timestep_bias == "balanced":
        position = r
    elif timestep_bias == "high_noise":
        position = r**3
    elif timestep_bias == "low_noise":
        position = 1 - r**3
    else:
        raise ValueError(f"unknown timestep bias {timestep_bias!r}; known: {', '.join(get_args(TimestepBias))}")
    return (position * NUM_LEVELS).long().clamp(0, NUM_LEVELS - 1)


def draw_sigmas(timestep_type: str, timestep_bias: str, count: int, generator: torch.Generator) -> Tensor:
    """`count` noise levels sigma in (0, 1], fp32, on the CPU."""
    return sigma_table(timestep_type)[draw_indices(timestep_bias, count, generator)]

"""Which noise levels a training step draws: a table of 1000 levels and a way of choosing an index.

Index i = 0..999 runs from most noise to least; `T[i]` is the timestep and sigma = T[i] / 1000. The type sets the table,
the bias sets how the index is drawn, and the bounds cut both, so the three compose. Formulas: the conventions of
ai-toolkit's users (`linear`, `sigmoid`, `weighted`, `shift`; High Noise = i 1000 r^3, Low Noise = i 1000 (1 - r^3)).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor

from slipstream.flow.shift import resolution_shift, shifted

TimestepType = Literal["linear", "sigmoid", "weighted", "shift", "logit_normal", "resolution_shift"]
TimestepBias = Literal["balanced", "high_noise", "low_noise"]

NUM_LEVELS = 1000
_ROUNDING = 1e-6


@dataclass(frozen=True)
class NoiseLevels:
    """A density of sigmas.

    Attributes:
        timestep_type: the table.
        timestep_bias: how an index is drawn from it.
        shift: of the type `shift`.
        logit_mean: of the type `logit_normal`: mean of logit(sigma); above 0 is noisier.
        logit_scale: of the type `logit_normal`: standard deviation of logit(sigma).
        min_noise: no sigma below this is drawn.
        max_noise: no sigma above this is drawn.
        stratified: the samples of an update share the density evenly between them.
    """

    timestep_type: str = "linear"
    timestep_bias: str = "balanced"
    shift: float = 3.0
    logit_mean: float = 0.0
    logit_scale: float = 1.0
    min_noise: float = 0.0
    max_noise: float = 1.0
    stratified: bool = False


@lru_cache(maxsize=64)
def sigma_table(levels: NoiseLevels, image_tokens: int) -> Tensor:
    """The 1000 sigmas (fp32, falling) of a type, bounds left aside.

    With s = linspace(1, 1/1000, 1000):
    - `linear`, `weighted`: s.
    - `shift`: shift s / (1 + (shift - 1) s); 3 is the schedule Turbo samples with.
    - `resolution_shift`: the same with Flux's shift for `image_tokens` (see `flow.shift`).
    - `sigmoid`, `logit_normal`: quantiles of sigmoid(mean + scale z), z ~ N(0, 1) (`sigmoid`: mean 0, scale 1), so a
      uniform index draws exactly that density.

    Raises:
        ValueError: an unknown type.
    """
    kind = levels.timestep_type
    linear = torch.linspace(1.0, 1 / NUM_LEVELS, NUM_LEVELS, dtype=torch.float64)
    if kind in ("linear", "weighted"):
        return linear.float()
    if kind == "shift":
        return shifted(linear, levels.shift).float()
    if kind == "resolution_shift":
        return shifted(linear, resolution_shift(image_tokens)).float()
    if kind == "sigmoid":
        return _logit_normal(0.0, 1.0)
    if kind == "logit_normal":
        return _logit_normal(levels.logit_mean, levels.logit_scale)
    raise ValueError(f"unknown timestep type {kind!r}; known: {', '.join(get_args(TimestepType))}")


def _logit_normal(mean: float, scale: float) -> Tensor:
    quantile = (NUM_LEVELS - torch.arange(NUM_LEVELS, dtype=torch.float64) - 0.5) / NUM_LEVELS
    return torch.sigmoid(mean + scale * torch.special.ndtri(quantile)).float()


@lru_cache(maxsize=64)
def index_range(levels: NoiseLevels, image_tokens: int) -> range:
    """The indices whose sigma lies within [min_noise, max_noise].

    Raises:
        ValueError: none does.
    """
    table = sigma_table(levels, image_tokens)
    inside = (table >= levels.min_noise - _ROUNDING) & (table <= levels.max_noise + _ROUNDING)
    if not inside.any():
        raise ValueError(
            f"no noise level of `{levels.timestep_type}` lies between {levels.min_noise:g} and {levels.max_noise:g}: "
            f"its levels run from {table[-1].item():.3g} to {table[0].item():.3g}"
        )
    indices = inside.nonzero().flatten()
    return range(int(indices[0]), int(indices[-1]) + 1)


def indices_at(timestep_bias: str, uniform_N: Tensor, within: range = range(NUM_LEVELS)) -> Tensor:
    """Uniform numbers r in [0, 1) to indices (int64, same device).

    The position p in [0, 1) of an index i = floor(1000 p) is r (`balanced`), r^3 (`high_noise`, which gathers at small
    indices) or 1 - r^3 (`low_noise`, its mirror). Where `within` is a part of the table, r is squeezed into the part
    of [0, 1) that leads there: the density inside stays as it was, divided by its share.

    Raises:
        ValueError: an unknown bias.
    """
    first, end = within.start / NUM_LEVELS, within.stop / NUM_LEVELS
    r = uniform_N.double()
    if timestep_bias == "balanced":
        position = _squeezed(r, first, end)
    elif timestep_bias == "high_noise":
        position = _squeezed(r, first ** (1 / 3), end ** (1 / 3)) ** 3
    elif timestep_bias == "low_noise":
        position = 1 - _squeezed(r, (1 - end) ** (1 / 3), (1 - first) ** (1 / 3)) ** 3
    else:
        raise ValueError(f"unknown timestep bias {timestep_bias!r}; known: {', '.join(get_args(TimestepBias))}")
    return (position * NUM_LEVELS).long().clamp(within.start, within.stop - 1)


def _squeezed(r: Tensor, low: float, high: float) -> Tensor:
    return low + r * (high - low)


def sigmas_at(levels: NoiseLevels, uniform_N: Tensor, image_tokens: int) -> Tensor:
    """Uniform numbers in [0, 1) to sigmas in (0, 1], fp32, for pictures of this many tokens.

    Raises:
        ValueError: an unknown type or bias, or bounds that leave no level.
    """
    indices = indices_at(levels.timestep_bias, uniform_N, index_range(levels, image_tokens))
    return sigma_table(levels, image_tokens)[indices]

"""Turbo drift: how late a LoRA makes the picture appear, on prompts it should leave alone.

A probe is one unrelated prompt with fixed noise. Turbo walks from that noise to a picture in three of its eight steps,
and at each says what the finished picture will be. It was distilled to guess a picture with its detail where all is
noise still; a model that learns from noisy pictures guesses the average of all that fit, a blur, and needs many steps
to leave it. That is what a LoRA wears off, so the score compares first guesses: how much of the detail that the walk
ends with is there at once, with the LoRA and without.

It is relative to the walk's own end because a LoRA may rightly change how much detail pictures have: a flat style has
less of it at every step, and a flat first guess is no drift. docs/drift.md has the measurements. Laying and measuring
cost a prediction for each probe and level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from slipstream.flow.solvers import euler_sigmas
from slipstream.runs.drift import RED as RED
from slipstream.runs.drift import YELLOW as YELLOW
from slipstream.runs.drift import Light as Light
from slipstream.runs.drift import light as light

T = TypeVar("T")
Predict = Callable[[Tensor, Tensor, list[Tensor]], Tensor]
"""(noisy_BCHW, sigma_B, list of caption features (tokens, T)) -> velocity_BCHW."""

STEPS = 8
"""Of Turbo's schedule, from which the levels are taken."""
LEVELS = (1.0, 0.83, 0.3)
"""Noise levels of the walk, each the nearest of Turbo's steps. The limits of the light hold for these alone."""
DETAIL_FROM = 0.25
"""Spatial frequency of latents from which it counts as detail, in periods per latent cell (at most 0.5 along an
axis): structure finer than 4 cells, which are 32 pixels."""
_FEW = 4


@dataclass(frozen=True)
class Probe:
    """One unrelated prompt and Turbo's own walk, L steps.

    Attributes:
        prompt, seed: what was drawn.
        sigmas: noise levels of the steps, falling.
        states: (L, C, H, W) latents there; the first is the noise.
        velocities: (L, C, H, W) Turbo's own, without a LoRA.
    """

    prompt: str
    seed: int
    sigmas: tuple[float, ...]
    states: Tensor
    velocities: Tensor


@torch.no_grad()
def lay_probes(
    predict: Predict, features: Callable[[str], Tensor], shift_at: Callable[[int], float], prompts: Sequence[str],
    latent_shape: tuple[int, int, int], device: torch.device, levels: Sequence[float] = LEVELS, *,
    first_seed: int = 1000, at_once: int = _FEW, tick: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Probe, ...]:  # fmt: skip
    """Walk for every prompt with the model as it is (LoRA off, training adapter removed).

    Args:
        predict: without the LoRA.
        features: caption -> features (tokens, T).
        shift_at: image tokens -> sampling shift.
        prompts: prompt number n begins with the noise of seed `first_seed` + n.
        latent_shape: (C, H, W).
        device: of the model.
        levels: noise levels; each means the nearest of Turbo's steps, and pure noise is always the first.
        first_seed: of the first prompt.
        at_once: prompts in a batch.
        tick: told (predictions done, in all).
    """
    steps = euler_sigmas(STEPS, shift_at((latent_shape[1] // 2) * (latent_shape[2] // 2)))[:-1]
    sigmas = tuple(float(steps[at]) for at in sorted({0, *(int((steps - level).abs().argmin()) for level in levels)}))
    probes: list[Probe] = []
    parts = list(_parts(prompts, at_once))
    for part, (start, batch) in enumerate(parts):
        seeds = range(first_seed + start, first_seed + start + len(batch))
        noise = torch.stack([_noise(seed, latent_shape) for seed in seeds]).to(device)
        passed = []
        for step, both in enumerate(_walk(predict, noise, sigmas, [features(prompt).to(device) for prompt in batch])):
            passed.append(both)
            tick(part * len(sigmas) + step + 1, len(parts) * len(sigmas))
        states, velocities = (torch.stack(found, 1) for found in zip(*passed, strict=True))
        probes += [
            Probe(prompt, seed, sigmas, states[row], velocities[row])
            for row, (prompt, seed) in enumerate(zip(batch, seeds, strict=True))
        ]
    return tuple(probes)


def _walk(
    predict: Predict, noise_BCHW: Tensor, sigmas: Sequence[float], texts: list[Tensor]
) -> Iterator[tuple[Tensor, Tensor]]:
    """(latents, velocity) at each level, by Euler steps from one to the next."""
    latents = noise_BCHW
    for now, then in pairwise((*sigmas, 0.0)):
        sigma_B = torch.full((len(texts),), now, device=latents.device)
        velocity = predict(latents, sigma_B, texts).float()
        yield latents, velocity
        latents = latents + (then - now) * velocity


@dataclass(frozen=True)
class LevelChange:
    """What a LoRA changes at one noise level of the walk, the mean over probes.

    Attributes:
        velocity: |v_with - v_without| / |v_without|, each where its own walk has come to.
        detail: amplitude of the detail in the guess of the clean latents, over that of Turbo's own walk; 1 is as much.
    """

    velocity: float
    detail: float


@torch.no_grad()
def velocity_change(
    predict: Predict, features: Callable[[str], Tensor], probes: Sequence[Probe], *, at_once: int = _FEW,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> dict[float, LevelChange]:  # fmt: skip
    """Noise level (two digits) -> what changes there, on walks from the probes' noise.

    Args:
        predict: with the LoRA, training adapter removed.
        features: caption -> features (tokens, T).
        probes: laid on the same model.
        at_once: predictions in a batch.
        tick: told (predictions done, in all).
    """
    parts, sigmas = list(_parts(probes, at_once)), probes[0].sigmas
    found: dict[float, list[Tensor]] = {round(sigma, 2): [] for sigma in sigmas}
    for part, (_, batch) in enumerate(parts):
        own_states = torch.stack([probe.states for probe in batch], dim=1)
        own_velocities = torch.stack([probe.velocities for probe in batch], dim=1)
        texts = [features(probe.prompt).to(own_states.device) for probe in batch]
        for level, (states, velocity) in enumerate(_walk(predict, own_states[0], sigmas, texts)):
            own, sigma = own_velocities[level], sigmas[level]
            change = (velocity - own).flatten(1).norm(dim=1) / own.flatten(1).norm(dim=1)
            ratio = detail_energy(states - sigma * velocity) / detail_energy(own_states[level] - sigma * own)
            found[round(sigma, 2)].append(torch.stack([change, ratio.log() / 2]))
            tick(part * len(sigmas) + level + 1, len(parts) * len(sigmas))
    means = {level: torch.cat(both, dim=1).mean(dim=1).tolist() for level, both in found.items()}
    return {level: LevelChange(change, math.exp(ratio)) for level, (change, ratio) in means.items()}


def detail_energy(latents_BCHW: Tensor) -> Tensor:
    """(B,) mean power of the spatial frequencies from `DETAIL_FROM` on."""
    height, width = latents_BCHW.shape[-2:]
    power = torch.fft.rfft2(latents_BCHW.float()).abs().square().mean(dim=1)
    rows = torch.fft.fftfreq(height, device=power.device)[:, None]
    columns = torch.fft.rfftfreq(width, device=power.device)[None]
    return power[:, (rows.square() + columns.square()).sqrt() >= DETAIL_FROM].mean(dim=1)


def drift_score(change: Mapping[float, LevelChange]) -> float:
    """Percent of the detail of Turbo's first guess that comes later with the LoRA, or sooner: 0 is Turbo itself.

    Formula: 100 (1 - min(d, 1 / d)) with d = detail at the highest noise level / detail at the lowest.

    Raises:
        ValueError: a walk of one level has no end to compare its first guess with.
    """
    if len(change) < 2:
        raise ValueError(f"got levels {sorted(change)}, expected the walk of `LEVELS`")
    logarithm = math.log(change[max(change)].detail / change[min(change)].detail)
    return 100.0 * (1.0 - math.exp(-abs(logarithm)))


def _parts(things: Sequence[T], most: int) -> list[tuple[int, Sequence[T]]]:
    return [(start, things[start : start + most]) for start in range(0, len(things), most)]


def _noise(seed: int, shape: tuple[int, int, int]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)

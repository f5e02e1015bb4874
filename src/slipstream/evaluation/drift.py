"""Turbo drift: how far a LoRA bends the velocities of Turbo's own few steps, on prompts it should leave alone.

A probe is one unrelated prompt with a fixed seed. Turbo without the LoRA walks its 8 steps once; at some of the states
it passes, the prediction with the LoRA is compared with its own. A measurement costs a prediction for each probe and
level.

What separates drift from learning is not how far the velocity moves but which way. Turbo was distilled to guess a
picture with its detail where nearly all is noise; a model that learns from noisy pictures guesses the average of all
that fit, a blur, and needs many steps to leave it. So the score is the detail that Turbo's first guess has lost (or
gained: a LoRA that adds noise there spoils the few steps as well). docs/drift.md has the measurements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
"""Of Turbo's trajectory."""
LEVELS = (0.95, 0.3)
"""Noise levels that are measured, each at the nearest step: the first shows drift, the second what is learned."""
DETAIL_FROM = 0.25
"""Spatial frequency of latents from which it counts as detail, in periods per latent cell (at most 0.5 along an
axis): structure finer than 4 cells, which are 32 pixels."""
_FEW = 4
_HIGH_NOISE = 0.9


@dataclass(frozen=True)
class Probe:
    """One unrelated prompt on Turbo's own trajectory, L of its steps.

    Attributes:
        prompt, seed: what was drawn.
        sigmas: noise levels of the steps that are measured, falling.
        states: (L, C, H, W) latents there.
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
    """Draw every prompt with the model as it is (LoRA off, training adapter removed) and keep some of the steps.

    Args:
        predict: without the LoRA.
        features: caption -> features (tokens, T).
        shift_at: image tokens -> sampling shift.
        prompts: prompt number n begins with the noise of seed `first_seed` + n.
        latent_shape: (C, H, W).
        device: of the model.
        levels: noise levels; each means the nearest step of the trajectory.
        first_seed: of the first prompt.
        at_once: prompts in a batch.
        tick: told (predictions done, in all).
    """
    sigmas = euler_sigmas(STEPS, shift_at((latent_shape[1] // 2) * (latent_shape[2] // 2)))
    wanted = sorted({int((sigmas[:-1] - level).abs().argmin()) for level in levels})
    probes: list[Probe] = []
    total = STEPS * -(-len(prompts) // at_once)
    for done, (start, batch) in enumerate(_parts(prompts, at_once)):
        seeds = range(first_seed + start, first_seed + start + len(batch))
        texts = [features(prompt).to(device) for prompt in batch]
        latents = torch.stack([_noise(seed, latent_shape) for seed in seeds]).to(device)
        passed: list[tuple[Tensor, Tensor]] = []
        for step, (now, then) in enumerate(pairwise(sigmas.tolist())):
            velocity = predict(latents, torch.full((len(batch),), now, device=device), texts).float()
            if step in wanted:
                passed.append((latents, velocity))
            latents = latents + (then - now) * velocity
            tick(done * STEPS + step + 1, total)
        states, velocities = (torch.stack(parts, 1) for parts in zip(*passed, strict=True))
        at = tuple(float(sigmas[step]) for step in wanted)
        probes += [
            Probe(prompt, seed, at, states[row], velocities[row])
            for row, (prompt, seed) in enumerate(zip(batch, seeds, strict=True))
        ]
    return tuple(probes)


@dataclass(frozen=True)
class LevelChange:
    """What a LoRA changes at one noise level, the mean over probes.

    Attributes:
        velocity: |v_with - v_without| / |v_without|.
        detail: amplitude of the detail in the predicted clean latents over Turbo's own there; 1 is as much.
    """

    velocity: float
    detail: float


@torch.no_grad()
def velocity_change(
    predict: Predict, features: Callable[[str], Tensor], probes: Sequence[Probe], *, at_once: int = _FEW,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> dict[float, LevelChange]:  # fmt: skip
    """Noise level (two digits) -> what changes there.

    Args:
        predict: with the LoRA, training adapter removed.
        features: caption -> features (tokens, T).
        probes: laid on the same model.
        at_once: predictions in a batch.
        tick: told (batches done, in all).
    """
    parts = list(_parts(probes, at_once))
    levels = len(probes[0].sigmas)
    found: dict[float, list[Tensor]] = {round(sigma, 2): [] for sigma in probes[0].sigmas}
    for done, (_, batch) in enumerate(parts):
        texts = [features(probe.prompt).to(probe.states.device) for probe in batch]
        for level in range(levels):
            states = torch.stack([probe.states[level] for probe in batch])
            own = torch.stack([probe.velocities[level] for probe in batch])
            sigma = torch.tensor([probe.sigmas[level] for probe in batch], device=states.device)
            velocity = predict(states, sigma, texts).float()
            change = (velocity - own).flatten(1).norm(dim=1) / own.flatten(1).norm(dim=1)
            noise_share = sigma.view(-1, 1, 1, 1)
            kept = detail_energy(states - noise_share * velocity) / detail_energy(states - noise_share * own)
            found[round(batch[0].sigmas[level], 2)].append(torch.stack([change, kept.log() / 2]))
            tick(done * levels + level + 1, len(parts) * levels)
    means = {level: torch.cat(both, dim=1).mean(dim=1).tolist() for level, both in found.items()}
    return {level: LevelChange(change, math.exp(kept)) for level, (change, kept) in means.items()}


def detail_energy(latents_BCHW: Tensor) -> Tensor:
    """(B,) mean power of the spatial frequencies from `DETAIL_FROM` on."""
    height, width = latents_BCHW.shape[-2:]
    power = torch.fft.rfft2(latents_BCHW.float()).abs().square().mean(dim=1)
    rows = torch.fft.fftfreq(height, device=power.device)[:, None]
    columns = torch.fft.rfftfreq(width, device=power.device)[None]
    return power[:, (rows.square() + columns.square()).sqrt() >= DETAIL_FROM].mean(dim=1)


def drift_score(change: Mapping[float, LevelChange]) -> float:
    """Percent of the detail of Turbo's first guess that is lost, or was added and is not Turbo's: 0 is Turbo itself.

    Formula: 100 (1 - min(d, 1 / d)), d the geometric mean of `detail` over levels from 0.9 on (the highest level where
    there are none).
    """
    high = [one.detail for level, one in change.items() if level >= _HIGH_NOISE] or [change[max(change)].detail]
    logarithm = sum(math.log(detail) for detail in high) / len(high)
    return 100.0 * (1.0 - math.exp(-abs(logarithm)))


def _parts(things: Sequence[T], most: int) -> list[tuple[int, Sequence[T]]]:
    return [(start, things[start : start + most]) for start in range(0, len(things), most)]


def _noise(seed: int, shape: tuple[int, int, int]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)

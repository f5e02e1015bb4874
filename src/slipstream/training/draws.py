"""Random draws of a training step. Progress is the seed: sample k of step s always meets the same noise and sigma.

Every sample has a generator of its own on the CPU, so the draw depends neither on the device, nor on how a step's
samples are split into batches and accumulation, nor on what ran before (which makes resume bit-identical).
"""

from __future__ import annotations

import torch
from torch import Tensor

from slipstream.core.seeding import derive_seed
from slipstream.flow.densities import NoiseLevels, sigmas_at
from slipstream.models.z_image.forward import PATCH


def draw_step(
    *,
    seed: int,
    step: int,
    first_sample: int,
    like_BCHW: Tensor,
    levels: NoiseLevels,
    samples_per_step: int = 1,
    noise_offset: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """(noise_BCHW fp32, sigma_B fp32) on the CPU for the samples `first_sample...` of update `step`.

    Args:
        seed: of the training's draws.
        step: updates done before this one.
        first_sample: place of the first row among the update's `samples_per_step` samples.
        like_BCHW: latents of the wanted shape.
        levels: the density of sigmas.
        samples_per_step: strata that `levels.stratified` cuts the density into.
        noise_offset: size of a constant n ~ N(0, 1) per sample and channel that is added to the noise.
    """
    noises, uniforms = [], []
    strata = _strata(seed, step, samples_per_step) if levels.stratified else None
    for sample in range(first_sample, first_sample + like_BCHW.shape[0]):
        generator = torch.Generator().manual_seed(derive_seed(seed, "draw", step, sample))
        uniform = torch.rand(1, generator=generator, dtype=torch.float64)
        if strata is not None:
            uniform = (strata[sample % samples_per_step] + uniform) / samples_per_step
        noise = torch.randn(like_BCHW.shape[1:], generator=generator, dtype=torch.float32)
        if noise_offset:
            noise = noise + noise_offset * torch.randn(noise.shape[0], 1, 1, generator=generator)
        uniforms.append(uniform)
        noises.append(noise)
    height, width = like_BCHW.shape[-2:]
    sigma = sigmas_at(levels, torch.cat(uniforms), (height // PATCH) * (width // PATCH))
    return torch.stack(noises), sigma


def _strata(seed: int, step: int, count: int) -> Tensor:
    """Which of `count` equal parts of [0, 1) each sample of a step draws from: a permutation of the step's own.

    A sample's part is uniform over steps, so its density is that of independent draws.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "strata", step))
    return torch.randperm(count, generator=generator)

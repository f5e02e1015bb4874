"""Random draws of a training step. Progress is the seed: sample k of step s always meets the same noise and sigma.

Every sample has a generator of its own on the CPU, so the draw depends neither on the device, nor on how a step's
samples are split into batches and accumulation, nor on what ran before (which makes resume bit-identical).
"""

from __future__ import annotations

import torch
from torch import Tensor

from slipstream.core.seeding import derive_seed
from slipstream.flow.densities import draw_sigmas


def draw_step(
    *, seed: int, step: int, first_sample: int, like_BCHW: Tensor, timestep_type: str, timestep_bias: str
) -> tuple[Tensor, Tensor]:
    """(noise_BCHW fp32, sigma_B fp32) on the CPU for the samples `first_sample...` of update `step`."""
    noises, sigmas = [], []
    for row in range(like_BCHW.shape[0]):
        generator = torch.Generator().manual_seed(derive_seed(seed, "draw", step, first_sample + row))
        sigmas.append(draw_sigmas(timestep_type, timestep_bias, 1, generator))
        noises.append(torch.randn(like_BCHW.shape[1:], generator=generator, dtype=torch.float32))
    return torch.stack(noises), torch.cat(sigmas)

"""Sampling: the Z-Image pipeline's schedule, Euler steps and guidance.

Source: FlowMatchEulerDiscreteScheduler and `pipeline_z_image.py` of diffusers 0.42; `tests/flow/test_solvers.py` shows
equality with them.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from slipstream.flow.shift import shifted


def euler_sigmas(num_steps: int, shift: float) -> Tensor:
    """The num_steps + 1 noise levels from 1 to 0 (fp32, CPU); `num_steps` forwards lie between them."""
    levels = torch.linspace(1.0, 1 / num_steps, num_steps, dtype=torch.float32)
    return torch.cat((shifted(levels, shift), torch.zeros(1)))


def guided(positive_BCHW: Tensor, negative_BCHW: Tensor, guidance_scale: float) -> Tensor:
    """Classifier-free guidance in the CFG form: negative + cfg (positive - negative); cfg 1 is no guidance.

    Diffusers' Z-Image argument is `cfg - 1`. Source: Ho & Salimans 2022 (arXiv 2207.12598).
    """
    return positive_BCHW + (guidance_scale - 1) * (positive_BCHW - negative_BCHW)


def solve_euler(velocity: Callable[[Tensor, Tensor], Tensor], noise_BCHW: Tensor, sigmas: Tensor) -> Tensor:
    """Walk from noise to latents. `velocity(latents_BCHW, sigma_B)`; everything in fp32."""
    latents = noise_BCHW
    levels = sigmas.to(latents.device, torch.float32)
    for step, (now, then) in enumerate(pairwise(sigmas)):
        # the step's length is a scalar on the CPU: a copy of it to the device would wait for the step before
        latents = latents + (then - now) * velocity(latents, levels[step].expand(latents.shape[0]))
    return latents

"""The sampling schedule and Euler steps against diffusers' scheduler."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from slipstream.core.quiet import quiet_imports
from slipstream.flow.solvers import euler_sigmas, guided, shifted, solve_euler

with quiet_imports():
    from diffusers import FlowMatchEulerDiscreteScheduler


def diffusers_schedule(steps: int, shift: float):
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=shift)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps).tolist())
    return scheduler


@pytest.mark.parametrize("shift", [1.0, 3.0, 6.0])
@pytest.mark.parametrize("steps", [1, 4, 8, 9, 28])
def test_the_schedule_equals_diffusers(steps, shift):
    torch.testing.assert_close(euler_sigmas(steps, shift), diffusers_schedule(steps, shift).sigmas, rtol=0, atol=1e-6)


def test_eight_steps_of_turbo_by_hand():
    """3 s / (1 + 2 s) at s = 8/8 ... 1/8, then 0: 8 real forwards."""
    expected = [24 / 24, 21 / 22, 18 / 20, 15 / 18, 12 / 16, 9 / 14, 6 / 12, 3 / 10, 0]
    torch.testing.assert_close(euler_sigmas(8, 3.0), torch.tensor(expected))


def test_shift_keeps_the_ends_and_one_changes_nothing():
    sigma = torch.tensor([0.0, 0.25, 1.0])
    torch.testing.assert_close(shifted(sigma, 3.0), torch.tensor([0.0, 0.5, 1.0]))
    assert torch.equal(shifted(sigma, 1.0), sigma)


def test_steps_equal_diffusers_scheduler_steps():
    noise = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    velocity = lambda latents, sigma: torch.sin(latents) * sigma.view(-1, 1, 1, 1)  # noqa: E731
    scheduler, latents = diffusers_schedule(8, 3.0), noise
    for timestep in scheduler.timesteps:
        sigma_B = (timestep / 1000).expand(2)
        latents = scheduler.step(velocity(latents, sigma_B), timestep, latents, return_dict=False)[0]
    torch.testing.assert_close(solve_euler(velocity, noise, euler_sigmas(8, 3.0)), latents, rtol=1e-5, atol=1e-5)


def test_the_solver_integrates_a_known_equation():
    """dx/dsigma = x from 1 to 0 gives x(0) = x(1) / e; one Euler step of the true straight path is exact."""
    sigmas = torch.linspace(1, 0, 2001)
    solved = solve_euler(lambda latents, _: latents, torch.ones(1, 1, 1, 1), sigmas)
    assert solved.item() == pytest.approx(1 / math.e, rel=1e-3)
    clean, noise = torch.randn(1, 2, 2, 2), torch.randn(1, 2, 2, 2)
    torch.testing.assert_close(solve_euler(lambda *_: noise - clean, noise, torch.tensor([1.0, 0.0])), clean)


def test_the_solver_calls_once_a_step_and_gives_every_sample_its_level():
    seen = []

    def velocity(latents, sigma_B):
        seen.append(sigma_B)
        return torch.zeros_like(latents)

    solve_euler(velocity, torch.zeros(3, 1, 2, 2), euler_sigmas(8, 3.0))
    assert len(seen) == 8
    assert all(sigma_B.shape == (3,) for sigma_B in seen)
    assert seen[0][0] == 1.0


def test_guidance_is_the_cfg_form():
    positive, negative = torch.tensor([2.0]), torch.tensor([0.5])
    assert guided(positive, negative, 1.0).item() == 2.0
    assert guided(positive, negative, 0.0).item() == 0.5
    assert guided(positive, negative, 3.0).item() == pytest.approx(0.5 + 3 * 1.5)

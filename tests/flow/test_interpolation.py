"""The straight path between noise and picture."""

from __future__ import annotations

import torch

from slipstream.flow.interpolation import interpolate, velocity_target


def test_the_ends_are_clean_and_noise_and_levels_are_per_sample():
    clean, noise = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    noisy = interpolate(clean, noise, torch.tensor([0.0, 1.0, 0.25]))
    torch.testing.assert_close(noisy[0], clean[0])
    torch.testing.assert_close(noisy[1], noise[1])
    torch.testing.assert_close(noisy[2], 0.75 * clean[2] + 0.25 * noise[2])


def test_velocity_is_the_slope_of_the_path():
    clean, noise = torch.randn(2, 2, 4, 4, dtype=torch.float64), torch.randn(2, 2, 4, 4, dtype=torch.float64)
    low, high = torch.full((2,), 0.3, dtype=torch.float64), torch.full((2,), 0.301, dtype=torch.float64)
    slope = (interpolate(clean, noise, high) - interpolate(clean, noise, low)) / 0.001
    torch.testing.assert_close(velocity_target(clean, noise), slope, rtol=1e-9, atol=1e-9)


def test_the_true_velocity_leads_back_to_the_clean_picture():
    clean, noise, sigma = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4), torch.tensor([0.1, 0.6, 1.0])
    noisy = interpolate(clean, noise, sigma)
    back = noisy - sigma.view(-1, 1, 1, 1) * velocity_target(clean, noise)
    torch.testing.assert_close(back, clean, rtol=1e-4, atol=1e-5)

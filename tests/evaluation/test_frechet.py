"""Frechet distance against values worked out by hand, and sharpness."""

from __future__ import annotations

import pytest
import torch

from slipstream.evaluation.frechet import frechet_distance
from slipstream.evaluation.sharpness import gradient_energy, relative_sharpness


def samples(count: int = 400, features: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equal_sets_are_zero_apart():
    assert frechet_distance(samples(), samples()) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(samples(), samples()[torch.randperm(400)]) == pytest.approx(0, abs=1e-9)


def test_a_shift_is_its_squared_length():
    """Equal covariances leave |mean_a - mean_b|^2 = 1 + 4 + 9 alone."""
    shift = torch.tensor([1.0, -2.0, 3.0, 0, 0, 0], dtype=torch.float64)
    assert frechet_distance(samples(), samples() + shift) == pytest.approx(14.0, rel=1e-9)


def test_a_scale_by_hand():
    """Points at +-1 and at +-3: variances 2 and 18, so 2 + 18 - 2 sqrt(36) = 8; scaling by 3 gives 4 tr C."""
    a = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    assert frechet_distance(a, 3 * a) == pytest.approx(8.0, rel=1e-6)
    x = samples()
    assert frechet_distance(x, 3 * x - 2 * x.mean(0)) == pytest.approx(4 * torch.cov(x.T).trace().item(), rel=1e-9)


def test_two_gaussians_on_different_axes():
    """Disjoint supports have no common root: the distance is tr C_a + tr C_b."""
    a = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    assert frechet_distance(a, a.flip(1)) == pytest.approx(4.0, rel=1e-6)


def test_it_is_symmetric_and_needs_no_more_samples_than_features():
    a, b = samples(20, 160, seed=1), samples(24, 160, seed=2) * 1.3
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_gradient_energy_by_hand():
    """Stripes of 0 and 1 in x differ by 1 everywhere across and by 0 down: (1 + 0) / 2."""
    stripes = torch.zeros(3, 4, 4)
    stripes[:, :, 1::2] = 1
    images = torch.stack((stripes, torch.full((3, 4, 4), 0.3)))
    assert gradient_energy(images).tolist() == pytest.approx([0.5, 0.0], abs=1e-7)


def test_relative_sharpness_follows_contrast():
    images = torch.rand(2, 3, 8, 8)
    assert relative_sharpness(images, images) == pytest.approx(1.0)
    assert relative_sharpness(images * 0.25, images) == pytest.approx(0.25, rel=1e-5)

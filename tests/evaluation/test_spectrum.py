"""The spectrum against waves and noise whose power is known."""

from __future__ import annotations

import math

import pytest
import torch

from slipstream.evaluation.spectrum import fine_energy, radial_power, relative_fine_detail, ring_frequencies


def wave(cycles_per_pixel: float, side: int = 64, amplitude: float = 0.4) -> torch.Tensor:
    line = 0.5 + amplitude * torch.sin(2 * math.pi * cycles_per_pixel * torch.arange(side))
    return line.expand(1, 3, side, side)


def test_a_wave_lies_in_the_ring_of_its_frequency():
    for ring, frequency in enumerate(ring_frequencies(16)):
        power = radial_power(wave(frequency), 16)[0]
        assert power.argmax() == ring
    assert radial_power(torch.full((2, 3, 64, 64), 0.7)).abs().max() < 1e-9


def test_white_noise_has_its_variance_in_every_ring():
    noise = 0.5 + 0.1 * torch.randn(8, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    assert radial_power(noise).mean(0).tolist() == pytest.approx([0.01] * 16, rel=0.12)


def test_less_contrast_is_less_power_by_its_square():
    noise = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    assert relative_fine_detail(radial_power(0.5 * noise), radial_power(noise)) == pytest.approx(0.25, rel=1e-4)


def test_blur_takes_fine_details_and_leaves_coarse_ones():
    sharp = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    blurred = torch.nn.functional.avg_pool2d(sharp, 3, stride=1, padding=1, count_include_pad=False)
    before, after = radial_power(sharp), radial_power(blurred)
    assert float((after / before)[:, 0].mean()) > 0.9
    assert relative_fine_detail(after, before) < 0.1


def test_fine_energy_counts_the_upper_half_of_the_rings_by_their_area():
    power = torch.zeros(2, 16)
    power[0, 7], power[1, 8] = 1.0, 1.0  # just below and just above a quarter cycle per pixel
    assert fine_energy(power).tolist() == pytest.approx([0.0, 8.5 / 32])

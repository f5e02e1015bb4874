"""The spectrum of pictures: how much of them lies in details of which size. What is washed out has lost the finest,
what is noisy or over-sharpened has gained there.

The radially averaged power spectrum: the squared Fourier coefficients of a picture, averaged over rings of equal
frequency. Natural pictures fall off with about the square of the frequency (Field 1987, J. Opt. Soc. Am. A 4:2379).
"""

from __future__ import annotations

import torch
from torch import Tensor

NUM_RINGS = 16
HIGHEST = 0.5
"""Cycles per pixel: stripes one pixel wide."""
FINE = 0.25
"""Cycles per pixel from which details count as fine: those narrower than two pixels."""


def ring_frequencies(num_rings: int = NUM_RINGS) -> tuple[float, ...]:
    """The middle of every ring in cycles per pixel."""
    return tuple((ring + 0.5) * HIGHEST / num_rings for ring in range(num_rings))


def radial_power(images_BCHW: Tensor, num_rings: int = NUM_RINGS) -> Tensor:
    """Mean power per ring (B, rings) in fp32, channels averaged, for images in [0, 1] of at least 2 * rings a side.

    The mean is taken away and a Hann window laid over the picture, so that its borders are no edges. White noise of
    variance v has the power v in every ring. Frequencies beyond 0.5 (the corners) are left out.
    """
    height, width = images_BCHW.shape[-2:]
    window = _hann(height, images_BCHW.device)[:, None] * _hann(width, images_BCHW.device)[None]
    centred = images_BCHW.float() - images_BCHW.float().mean(dim=(-2, -1), keepdim=True)
    power = torch.fft.fft2(centred * window).abs().square().mean(dim=1) / window.square().sum()
    down, across = (torch.fft.fftfreq(side, device=images_BCHW.device) for side in (height, width))
    radius = (down[:, None].square() + across[None].square()).sqrt()
    ring = (radius / HIGHEST * num_rings).long().flatten()
    inside = (ring < num_rings) & (radius.flatten() > 0)
    member = torch.nn.functional.one_hot(ring[inside], num_rings).float()
    return power.flatten(1)[:, inside] @ member / member.sum(0)


def fine_energy(power_BR: Tensor) -> Tensor:
    """Energy of details finer than two pixels per picture (B,): the power of rings from `FINE` on, by their area."""
    frequencies = torch.tensor(ring_frequencies(power_BR.shape[-1]), device=power_BR.device)
    return power_BR @ torch.where(frequencies >= FINE, frequencies, 0.0)


def relative_fine_detail(power_BR: Tensor, reference_BR: Tensor) -> float:
    """Fine details of a set of pictures over those of its reference (1 = as much; less = washed out)."""
    return float(fine_energy(power_BR).mean() / fine_energy(reference_BR).mean().clamp(min=1e-12))


def _hann(length: int, device: torch.device) -> Tensor:
    return torch.hann_window(length, periodic=False, dtype=torch.float32, device=device)

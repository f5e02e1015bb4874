"""Sharpness of pictures: how much their neighbouring pixels differ. A washed-out picture has little of it."""

from __future__ import annotations

from torch import Tensor


def gradient_energy(images_BCHW: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels per picture (B,), images in [0, 1]."""
    horizontal = (images_BCHW[..., :, 1:] - images_BCHW[..., :, :-1]).abs().mean(dim=(1, 2, 3))
    vertical = (images_BCHW[..., 1:, :] - images_BCHW[..., :-1, :]).abs().mean(dim=(1, 2, 3))
    return (horizontal + vertical) / 2


def relative_sharpness(images_BCHW: Tensor, reference_BCHW: Tensor) -> float:
    """Gradient energy of a set over that of its reference (1 = as sharp)."""
    return float(gradient_energy(images_BCHW).mean() / gradient_energy(reference_BCHW).mean())

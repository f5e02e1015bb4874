"""The straight path between noise and picture. sigma 1 = pure noise; velocity = noise - clean."""

from __future__ import annotations

from torch import Tensor


def interpolate(clean_BCHW: Tensor, noise_BCHW: Tensor, sigma_B: Tensor) -> Tensor:
    """noisy = (1 - sigma) clean + sigma noise. Source: rectified flow, Liu et al. 2022 (arXiv 2209.03003)."""
    sigma = sigma_B.view(-1, 1, 1, 1)
    return (1 - sigma) * clean_BCHW + sigma * noise_BCHW


def velocity_target(clean_BCHW: Tensor, noise_BCHW: Tensor) -> Tensor:
    """d noisy / d sigma = noise - clean, the same at every level."""
    return noise_BCHW - clean_BCHW

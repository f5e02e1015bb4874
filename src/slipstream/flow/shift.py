"""Shifting noise levels towards more noise: by a fixed factor, or by one that grows with the picture.

Source: FlowMatchEulerDiscreteScheduler of diffusers 0.42 and `calculate_shift` of its Z-Image pipeline; the idea is
section 5.3.2 of Esser et al. 2024 (arXiv 2403.03206): a larger picture needs more noise to hide as much of it.
"""

from __future__ import annotations

import math

from torch import Tensor


def shifted(sigma: Tensor, shift: float) -> Tensor:
    """shift * sigma / (1 + (shift - 1) * sigma): more of the levels lie where the noise is high (shift > 1)."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def resolution_shift(
    image_tokens: int,
    *,
    base_shift: float = 0.5,
    max_shift: float = 1.15,
    base_tokens: int = 256,
    max_tokens: int = 4096,
) -> float:
    """Flux's mu as a shift: exp(mu), mu a straight line through (base_tokens, base_shift), (max_tokens, max_shift).

    With the defaults 1.65 at 256 tokens (256 x 256 pixels), 1.88 at 1024 (512 x 512), 3.16 at 4096 (1024 x 1024).
    """
    slope = (max_shift - base_shift) / (max_tokens - base_tokens)
    return math.exp(base_shift + slope * (image_tokens - base_tokens))

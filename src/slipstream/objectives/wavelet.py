"""A loss that counts coarse errors as much as fine ones: mean squares of Haar bands, every band alike.

The orthonormal Haar transform keeps the sum of squares, so the plain mean over its coefficients would be mse again: the
fine bands have most coefficients and drown the coarse ones. Here each band has the same say. Source of the transform:
Mallat 1989 (A theory for multiresolution signal decomposition).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from slipstream.objectives.masks import mean_weight

NUM_SCALES = 3
"""Halvings at most: the coarsest band then sees 8 x 8 cells, 64 x 64 pixels, at once."""


def wavelet_losses(difference_BCHW: Tensor, weights_BHW: Tensor | None = None) -> Tensor:
    """Per sample (B,): the mean over bands b of mean(c_b^2), c_b the band's Haar coefficients of the difference.

    Bands: three directions at each of 3 scales (fewer where the picture ends before), and what is left. An error
    without structure gives what mse gives; a constant error e gives up to 64 / 10 e^2. With cell weights the
    difference is multiplied by their roots first (cells of weight 0 have no say) and the result divided by their mean.
    """
    difference = difference_BCHW.float()
    if weights_BHW is not None:
        difference = difference * weights_BHW[:, None].sqrt()
    bands = [band.square().mean(dim=(1, 2, 3)) for band in haar_bands(difference)]
    losses = torch.stack(bands).mean(dim=0)
    return losses if weights_BHW is None else losses / mean_weight(weights_BHW)


def haar_bands(x_BCHW: Tensor, num_scales: int = NUM_SCALES) -> list[Tensor]:
    """The orthonormal Haar bands of a picture, fine ones first, what is left last; empty bands are left out."""
    bands: list[Tensor] = []
    for _ in range(num_scales):
        left, right = _halved(x_BCHW)
        (x_BCHW, low_high), (high_low, high_high) = (_halved(half.mT) for half in (left, right))
        x_BCHW = x_BCHW.mT
        bands += [band.mT for band in (low_high, high_low, high_high) if band.numel()]
    return [*bands, x_BCHW]


def _halved(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sums and differences of neighbours in the last dimension, over sqrt 2; an odd last one stays as it is."""
    even, odd = x[..., 0::2], x[..., 1::2]
    paired = even[..., : odd.shape[-1]]
    low = torch.cat(((paired + odd) / math.sqrt(2), even[..., odd.shape[-1] :]), dim=-1)
    return low, (paired - odd) / math.sqrt(2)

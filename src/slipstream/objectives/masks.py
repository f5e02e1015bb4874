"""Weights of latent cells: a mask says where a picture counts, and does not change how much it counts.

Where a set has a prior weight w, the mask's dark side pulls towards the model without LoRA: the same mean with 1 - mask
as weights, times w. So at w = 1 the outside counts as much as the inside, whatever their areas.
"""

from __future__ import annotations

from torch import Tensor

_TINY = 1e-6


def cell_mean(elements_BCHW: Tensor, weights_BHW: Tensor | None) -> Tensor:
    """Per sample (B,): sum(w e) / sum(w) over cells and channels; without weights the plain mean.

    So a mask over half of a picture gives the mean of the other half, not half of it, and any constant mask above 0
    gives the plain mean. A mask of zeros gives 0.
    """
    if weights_BHW is None:
        return elements_BCHW.flatten(1).mean(dim=1)
    weighted = (elements_BCHW.mean(dim=1) * weights_BHW).mean(dim=(1, 2))
    return weighted / mean_weight(weights_BHW)


def mean_weight(weights_BHW: Tensor) -> Tensor:
    """Per sample (B,), never 0."""
    return weights_BHW.mean(dim=(1, 2)).clamp(min=_TINY)

"""The model without its LoRA as a target, for regularization sets."""

from __future__ import annotations

import torch
from torch import Tensor


def prior_target(target: Tensor, original: Tensor, prior_B: Tensor) -> Tensor:
    """`original` (no LoRA, no gradient) for the samples whose flag is 1, `target` for those whose is 0."""
    return torch.where(prior_B.bool().view(-1, 1, 1, 1), original, target)

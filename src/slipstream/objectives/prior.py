"""The model without its LoRA as a target, for regularization sets."""

from __future__ import annotations

import torch
from torch import Tensor


def prior_target(target: Tensor, original: Tensor, prior: tuple[bool, ...]) -> Tensor:
    """`original` (no LoRA, no gradient) for the samples whose flag is set, `target` for the others."""
    chosen = torch.tensor(prior, device=target.device).view(-1, 1, 1, 1)
    return torch.where(chosen, original, target)

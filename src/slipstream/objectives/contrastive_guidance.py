"""Contrastive guidance: learn what the caption adds, overdrawn, as classifier-free guidance draws it."""

from __future__ import annotations

from torch import Tensor


def contrasted_target(target: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """unconditional + scale (target - unconditional); scale 1 is the target itself.

    `unconditional` is the prediction for the blank prompt without gradient and WITHOUT the LoRA. With the LoRA it would
    follow what is learned: the more a style reaches the blank prompt, the less it would be pushed away from it, and the
    target would move at every update. Without it, the same sample always has the same target, and preservation of the
    blank prompt can use the same prediction. Source of the form: Ho & Salimans 2022 (arXiv 2207.12598).
    """
    return unconditional + scale * (target - unconditional)

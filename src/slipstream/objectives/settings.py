"""What an objective is made of, as plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ObjectiveSettings:
    """The terms of the loss; None = off.

    Attributes:
        loss_type: how a wrong velocity is counted (`objectives.losses`).
        huber_delta: of the two hubers.
        differential_guidance_scale: how far past the target is aimed (`objectives.differential_guidance`).
        contrastive_guidance_scale: how far the target is pushed from the blank prompt's prediction
            (`objectives.contrastive_guidance`).
        preservation_multiplier: weight of the pull towards the model without LoRA on the preserved captions
            (`objectives.preservation`).
    """

    loss_type: str = "mse"
    huber_delta: float = 0.1
    differential_guidance_scale: float | None = None
    contrastive_guidance_scale: float | None = None
    preservation_multiplier: float | None = None

"""What an objective is made of, as plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ObjectiveSettings:
    """The terms of the loss; None = off.

    Attributes:
        loss_type: how a wrong velocity is counted (`objectives.losses`).
        huber_delta: of the two hubers.
        differential_guidance_scale: how far past the target is aimed.
    """

    loss_type: str = "mse"
    huber_delta: float = 0.1
    differential_guidance_scale: float | None = None

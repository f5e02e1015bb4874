"""Differential guidance: aim past the target, in the direction the prediction is wrong."""

from __future__ import annotations

from torch import Tensor


def guided_target(prediction: Tensor, target: Tensor, scale: float) -> Tensor:
    """prediction + scale (target - prediction), with the prediction held constant.

    For mse the gradient is exactly `scale` times the ordinary one, so under Adam, which divides by the gradient's size,
    it acts only through gradient clipping, epsilon and its weight against other losses. It is no faster by itself.
    """
    held = prediction.detach()
    return held + scale * (target - held)

"""The flow-matching objective: predict velocity = noise - clean at a noise level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from slipstream.flow.interpolation import interpolate, velocity_target
from slipstream.flow.weights import loss_weights
from slipstream.objectives.differential_guidance import guided_target
from slipstream.objectives.losses import sample_losses


@dataclass(frozen=True)
class LossResult:
    """`loss` is the mean over the batch of `per_sample_B` (each the weighted mean over its elements)."""

    loss: Tensor
    per_sample_B: Tensor


def velocity_loss(
    predict: Callable[[Tensor, Tensor], Tensor],
    clean_BCHW: Tensor,
    noise_BCHW: Tensor,
    sigma_B: Tensor,
    *,
    timestep_type: str = "linear",
    loss_type: str = "mse",
    huber_delta: float = 0.1,
    differential_guidance_scale: float | None = None,
) -> LossResult:
    """The loss of a batch; `predict(noisy_BCHW, sigma_B)` returns a velocity.

    A batch of N gives the mean of N single losses, and so the mean of their gradients.
    """
    noisy = interpolate(clean_BCHW, noise_BCHW, sigma_B)
    target = velocity_target(clean_BCHW, noise_BCHW)
    prediction = predict(noisy, sigma_B)
    if differential_guidance_scale is not None:
        target = guided_target(prediction, target, differential_guidance_scale)
    losses = sample_losses(loss_type, prediction, target, huber_delta)
    per_sample = losses * loss_weights(timestep_type, sigma_B)
    return LossResult(per_sample.mean(), per_sample)

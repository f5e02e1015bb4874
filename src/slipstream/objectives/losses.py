"""Losses between predicted and target velocity: per element, and per sample."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from slipstream.objectives.masks import cell_mean
from slipstream.objectives.wavelet import wavelet_losses

LossType = Literal["mse", "mae", "huber", "pseudo_huber", "wavelet"]


def sample_losses(
    loss_type: str, prediction: Tensor, target: Tensor, huber_delta: float, weights_BHW: Tensor | None = None
) -> Tensor:
    """The loss of every sample (B,), fp32: the mean over its elements, weighted by cell where weights are given.

    Raises:
        ValueError: an unknown type.
    """
    if loss_type == "wavelet":
        return wavelet_losses(prediction.float() - target.float(), weights_BHW)
    return cell_mean(per_element_loss(loss_type, prediction, target, huber_delta), weights_BHW)


def per_element_loss(loss_type: str, prediction: Tensor, target: Tensor, huber_delta: float) -> Tensor:
    """The loss of every element, same shape, fp32. With d = prediction - target and c = `huber_delta`:

    - `mse`: d^2.
    - `mae`: |d|.
    - `huber`: d^2 where |d| < c, else c (2 |d| - c) (twice torch's huber_loss).
    - `pseudo_huber`: 2 c (sqrt(d^2 + c^2) - c), a huber without its corner (Charbonnier et al. 1997).

    Both hubers equal mse near zero, so that learning rates carry over, and grow by 2 c |d| far from it.

    Raises:
        ValueError: an unknown type.
    """
    prediction, target = prediction.float(), target.float()
    if loss_type == "mse":
        return F.mse_loss(prediction, target, reduction="none")
    if loss_type == "mae":
        return F.l1_loss(prediction, target, reduction="none")
    if loss_type == "huber":
        return 2 * F.huber_loss(prediction, target, reduction="none", delta=huber_delta)
    if loss_type == "pseudo_huber":
        square = (prediction - target).square()
        # 2 c (sqrt(d^2 + c^2) - c), in the form that loses no digits where d is small
        return 2 * huber_delta * square / ((square + huber_delta**2).sqrt() + huber_delta)
    raise ValueError(f"unknown loss type {loss_type!r}; known per element: mse, mae, huber, pseudo_huber")

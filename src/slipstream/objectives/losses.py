"""Element-wise losses between predicted and target velocity."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

LossType = Literal["mse", "mae", "huber"]


def per_element_loss(loss_type: str, prediction: Tensor, target: Tensor, huber_delta: float) -> Tensor:
    """The loss of every element, same shape, fp32.

    - `mse`: (p - t)^2.
    - `mae`: |p - t|.
    - `huber`: (p - t)^2 where |p - t| < delta, else delta (2 |p - t| - delta): equal to mse near zero and growing
      linearly far from it (twice torch's huber_loss, so that learning rates carry over from mse).

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
    raise ValueError(f"unknown loss type {loss_type!r}; known: mse, mae, huber")

"""Loss weights per noise level."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources

import torch
from torch import Tensor

from slipstream.flow.densities import NUM_LEVELS

CPU = torch.device("cpu")


@lru_cache(maxsize=16)
def weighted_table(device: torch.device = CPU) -> Tensor:
    """The 1000 weights (mean 1, fp32) of the `weighted` type, index 0 = most noise; the source is named in the file.

    They lie on the device from the first call on, so that a training step copies nothing.
    """
    text = resources.files("slipstream.flow").joinpath("weighted_timesteps.json").read_text(encoding="utf-8")
    return torch.tensor(json.loads(text)["weights"], dtype=torch.float32, device=device)


def loss_weights(timestep_type: str, sigma_B: Tensor) -> Tensor:
    """Weight per sample, fp32 on the sigmas' device: the table for `weighted` (nearest level), else 1."""
    if timestep_type != "weighted":
        return torch.ones_like(sigma_B)
    index = (NUM_LEVELS - sigma_B * NUM_LEVELS).round().long().clamp(0, NUM_LEVELS - 1)
    return weighted_table(sigma_B.device)[index]

"""Optimizers by name."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from slipstream.core.errors import DeviceError
from slipstream.core.quiet import quiet_imports

OptimizerName = Literal["adamw", "adamw8bit"]


def build_optimizer(
    name: str, parameters: list[nn.Parameter], *, learning_rate: float, weight_decay: float,
    betas: tuple[float, float], eps: float, device: torch.device,
) -> torch.optim.Optimizer:  # fmt: skip
    """`adamw` (fused on CUDA) or `adamw8bit` (bitsandbytes, on the CPU too; small states stay fp32).

    Raises:
        DeviceError: bitsandbytes cannot be imported here.
        ValueError: an unknown name.
    """
    if name == "adamw":
        return torch.optim.AdamW(
            parameters, lr=learning_rate, weight_decay=weight_decay, betas=betas, eps=eps, fused=device.type == "cuda"
        )
    if name == "adamw8bit":
        with quiet_imports():
            try:
                from bitsandbytes.optim import AdamW8bit
            except (ImportError, OSError, RuntimeError) as error:
                raise DeviceError(
                    f"adamw8bit needs bitsandbytes, which does not load here ({error})", where="training.optimizer",
                    fix="pip install bitsandbytes, or set training.optimizer=adamw.",
                ) from error  # fmt: skip
        return AdamW8bit(parameters, lr=learning_rate, weight_decay=weight_decay, betas=betas, eps=eps)
    raise ValueError(f"unknown optimizer {name!r}; known: adamw, adamw8bit")

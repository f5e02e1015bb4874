"""The row operations, by what the tensors lie on: Triton kernels on CUDA, plain torch elsewhere."""

from __future__ import annotations

from types import ModuleType

import torch

from slipstream.kernels import rows_torch


def row_operations(device: torch.device) -> ModuleType:
    """The module whose functions fit the device; both have the same functions with the same arguments."""
    if device.type != "cuda":
        return rows_torch
    from slipstream.kernels import rows_triton

    return rows_triton

"""Random rows and places for results, shared by the tests of row operations on the CPU and on CUDA."""

from __future__ import annotations

import torch
from torch import Tensor

from slipstream.kernels.row_output import RowOutput

BESIDE = 64
"""Columns right of the dense ones."""


def randoms(
    *shapes: tuple[int, ...], seed: int = 3, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """Standard normal tensors, drawn on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes]


def empty_output(
    rows: int, width: int, *, float8: bool = False, with_columns: bool = False, device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> RowOutput:  # fmt: skip
    """A place for rows in a wider buffer."""
    whole = torch.zeros(rows, width + BESIDE, device=device, dtype=dtype)
    if not float8:
        return RowOutput(whole, whole[:, :width])
    codes = torch.zeros(rows, width, device=device, dtype=torch.float8_e4m3fn)
    (columns,) = randoms((width,), seed=5, device=device)
    scale = torch.zeros(rows, 1, device=device)
    return RowOutput(whole, whole[:, :width], codes, scale, columns.abs() + 0.5 if with_columns else None)

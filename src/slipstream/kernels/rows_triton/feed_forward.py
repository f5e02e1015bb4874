"""SwiGLU and its gradient: a row is too wide for registers, so a program walks over it piece by piece.

Float8 needs the largest number of the whole row first. The program then reads its own dense row again, which still
lies in the cache, and turns it into codes.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from slipstream.kernels.row_output import RowOutput
from slipstream.kernels.rows_triton.launch import Launch, launch_of, options
from slipstream.kernels.rows_triton.output import places, with_columns, write_scale


@triton.jit
def _codes_of_row(largest, row, dense_ptr, dense_stride, codes_ptr, scale_ptr, columns_ptr, WIDTH: tl.constexpr,
                  BLOCK: tl.constexpr):  # fmt: skip
    """Read the dense row that this program wrote and write its codes."""
    to_codes = write_scale(tl.max(largest, axis=0), scale_ptr, row)
    tl.debug_barrier()
    for start in range(0, WIDTH, BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = at < WIDTH
        rounded = tl.load(dense_ptr + row * dense_stride + at, mask=inside, other=0.0)
        codes = with_columns(rounded, columns_ptr, at, inside) * to_codes
        tl.store(codes_ptr + row * WIDTH + at, codes.to(codes_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _forward(
    up_ptr, up_stride, dense_ptr, dense_stride, codes_ptr, scale_ptr, columns_ptr, F: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    largest = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, F, BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = at < F
        gate = tl.load(up_ptr + row * up_stride + at, mask=inside, other=0.0).to(tl.float32)
        value = tl.load(up_ptr + row * up_stride + F + at, mask=inside, other=0.0).to(tl.float32)
        hidden = (gate * tl.sigmoid(gate) * value).to(dense_ptr.dtype.element_ty)
        tl.store(dense_ptr + row * dense_stride + at, hidden, mask=inside)
        if codes_ptr is not None:
            largest = tl.maximum(largest, tl.abs(with_columns(hidden, columns_ptr, at, inside)))
    if codes_ptr is not None:
        _codes_of_row(largest, row, dense_ptr, dense_stride, codes_ptr, scale_ptr, columns_ptr, F, BLOCK)


def swiglu(up_BSF2: Tensor, out: RowOutput) -> None:
    """See `rows_torch.swiglu`."""
    batch, tokens, width = up_BSF2.shape
    shape = _shape(launch_of("swiglu", out.codes), width // 2)
    _forward[(batch * tokens,)](up_BSF2, up_BSF2.stride(1), *places(out), **shape)


@triton.jit
def _backward(
    d_ptr, d_stride, up_ptr, up_stride, hidden_ptr, dense_ptr, dense_stride, codes_ptr, scale_ptr, columns_ptr,
    F: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    largest = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, F, BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = at < F
        gate = tl.load(up_ptr + row * up_stride + at, mask=inside, other=0.0).to(tl.float32)
        value = tl.load(up_ptr + row * up_stride + F + at, mask=inside, other=0.0).to(tl.float32)
        d_hidden = tl.load(d_ptr + row * d_stride + at, mask=inside, other=0.0).to(tl.float32)
        sigmoid = tl.sigmoid(gate)
        silu = gate * sigmoid
        d_gate = (d_hidden * value * sigmoid * (1.0 + gate * (1.0 - sigmoid))).to(dense_ptr.dtype.element_ty)
        d_value = (d_hidden * silu).to(dense_ptr.dtype.element_ty)
        if hidden_ptr is not None:
            tl.store(hidden_ptr + row * F + at, (silu * value).to(hidden_ptr.dtype.element_ty), mask=inside)
        tl.store(dense_ptr + row * dense_stride + at, d_gate, mask=inside)
        tl.store(dense_ptr + row * dense_stride + F + at, d_value, mask=inside)
        if codes_ptr is not None:
            largest = tl.maximum(largest, tl.abs(with_columns(d_gate, columns_ptr, at, inside)))
            largest = tl.maximum(largest, tl.abs(with_columns(d_value, columns_ptr, F + at, inside)))
    if codes_ptr is not None:
        _codes_of_row(largest, row, dense_ptr, dense_stride, codes_ptr, scale_ptr, columns_ptr, 2 * F, BLOCK)


def swiglu_backward(
    d_hidden_BSF: Tensor, up_BSF2: Tensor, out: RowOutput, *, wants_hidden: bool = True
) -> Tensor | None:
    """See `rows_torch.swiglu_backward`."""
    batch, tokens, width = up_BSF2.shape
    hidden = None
    if wants_hidden:
        hidden = torch.empty(batch, tokens, width // 2, dtype=up_BSF2.dtype, device=up_BSF2.device)
    _backward[(batch * tokens,)](
        d_hidden_BSF, d_hidden_BSF.stride(1), up_BSF2, up_BSF2.stride(1), hidden, *places(out),
        **_shape(launch_of("swiglu backward", out.codes), width // 2),
    )  # fmt: skip
    return hidden


def _shape(launch: Launch, width: int) -> dict[str, int]:
    piece = min(launch.piece, triton.next_power_of_2(width))
    return {"F": width, "BLOCK": piece, **options(launch, piece)}

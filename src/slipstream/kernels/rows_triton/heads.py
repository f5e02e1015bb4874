"""Query, key and value, head by head: their norms and rotation, the way back, and what attention puts out."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from slipstream.kernels.row_output import RowOutput
from slipstream.kernels.rows_triton.launch import Launch, launch_of, options
from slipstream.kernels.rows_triton.output import places, with_columns, write_row, write_scale


@triton.jit
def _turned(x, cos, sin, HEADS_BLOCK: tl.constexpr, BLOCK: tl.constexpr):
    """Interleaved pairs of columns turned by the angles."""
    even, odd = tl.split(tl.reshape(x, (HEADS_BLOCK, BLOCK // 2, 2)))
    return tl.reshape(tl.join(even * cos - odd * sin, even * sin + odd * cos), (HEADS_BLOCK, BLOCK))


@triton.jit(do_not_specialize=["tokens"])
def _forward(
    qkv_ptr, qkv_stride, query_weight_ptr, key_weight_ptr, cos_ptr, sin_ptr, query_ptr, key_ptr, tokens, eps,
    HEADS: tl.constexpr, HEADS_BLOCK: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    heads = tl.arange(0, HEADS_BLOCK)[:, None]
    columns = tl.arange(0, BLOCK)[None, :]
    inside = (heads < HEADS) & (columns < WIDTH)
    at = heads * WIDTH + columns
    pairs = tl.arange(0, BLOCK // 2)[None, :]
    angle = (row % tokens) * (WIDTH // 2) + pairs
    cos = tl.load(cos_ptr + angle, mask=pairs < WIDTH // 2, other=0.0)
    sin = tl.load(sin_ptr + angle, mask=pairs < WIDTH // 2, other=0.0)
    for part in tl.static_range(2):
        weight_ptr = query_weight_ptr if part == 0 else key_weight_ptr
        out_ptr = query_ptr if part == 0 else key_ptr
        x = tl.load(qkv_ptr + row * qkv_stride + part * HEADS * WIDTH + at, mask=inside, other=0.0).to(tl.float32)
        x *= tl.rsqrt(tl.sum(x * x, axis=1) / WIDTH + eps)[:, None]
        x *= tl.load(weight_ptr + columns, mask=columns < WIDTH, other=0.0).to(tl.float32)
        turned = _turned(x, cos, sin, HEADS_BLOCK, BLOCK)
        tl.store(out_ptr + row * HEADS * WIDTH + at, turned.to(out_ptr.dtype.element_ty), mask=inside)


def head_norm_rotate(
    qkv_BSN: Tensor, weights_E: tuple[Tensor, Tensor], cos_SP: Tensor, sin_SP: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """See `rows_torch.head_norm_rotate`."""
    batch, tokens, joint = qkv_BSN.shape
    width = weights_E[0].shape[0]
    heads = joint // 3 // width
    query, key = (
        torch.empty(batch, tokens, heads, width, dtype=qkv_BSN.dtype, device=qkv_BSN.device) for _ in range(2)
    )
    _forward[(batch * tokens,)](
        qkv_BSN, qkv_BSN.stride(1), *weights_E, cos_SP, sin_SP, query, key, tokens, eps,
        **_shape(launch_of("heads"), heads, width),
    )  # fmt: skip
    return query, key


@triton.jit
def _unturned(
    d_ptr, d_head, x_ptr, weight_ptr, cos, sin, heads, columns, inside, eps,
    HEADS_BLOCK: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradient through rotation and norm of one token's heads, fp32; pointers are at the token."""
    x = tl.load(x_ptr + heads * WIDTH + columns, mask=inside, other=0.0).to(tl.float32)
    d = tl.load(d_ptr + heads * d_head + columns, mask=inside, other=0.0).to(tl.float32)
    d = _turned(d, cos, -sin, HEADS_BLOCK, BLOCK)
    d *= tl.load(weight_ptr + columns, mask=columns < WIDTH, other=0.0).to(tl.float32)
    inverse = tl.rsqrt(tl.sum(x * x, axis=1) / WIDTH + eps)[:, None]
    x *= inverse
    return inverse * (d - x * (tl.sum(d * x, axis=1) / WIDTH)[:, None])


@triton.jit(do_not_specialize=["tokens"])
def _backward(
    d_query_ptr, d_query_sample, d_query_token, d_query_head, d_key_ptr, d_key_sample, d_key_token, d_key_head,
    d_value_ptr, d_value_sample, d_value_token, d_value_head, qkv_ptr, qkv_stride, query_weight_ptr, key_weight_ptr,
    cos_ptr, sin_ptr, dense_ptr, dense_stride, codes_ptr, scale_ptr, columns_ptr, tokens, eps,
    HEADS: tl.constexpr, HEADS_BLOCK: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    sample, token = row // tokens, row % tokens
    heads = tl.arange(0, HEADS_BLOCK)[:, None]
    columns = tl.arange(0, BLOCK)[None, :]
    inside = (heads < HEADS) & (columns < WIDTH)
    at = heads * WIDTH + columns
    D: tl.constexpr = HEADS * WIDTH
    pairs = tl.arange(0, BLOCK // 2)[None, :]
    angle = token * (WIDTH // 2) + pairs
    cos = tl.load(cos_ptr + angle, mask=pairs < WIDTH // 2, other=0.0)
    sin = tl.load(sin_ptr + angle, mask=pairs < WIDTH // 2, other=0.0)
    before = qkv_ptr + row * qkv_stride
    dense = dense_ptr + row * dense_stride + at

    start = d_value_ptr + sample * d_value_sample + token * d_value_token
    value = tl.load(start + heads * d_value_head + columns, mask=inside, other=0.0).to(dense_ptr.dtype.element_ty)
    tl.store(dense + 2 * D, value, mask=inside)
    start = d_query_ptr + sample * d_query_sample + token * d_query_token
    query = _unturned(
        start, d_query_head, before, query_weight_ptr, cos, sin, heads, columns, inside, eps, HEADS_BLOCK, WIDTH, BLOCK
    ).to(dense_ptr.dtype.element_ty)
    tl.store(dense, query, mask=inside)
    start = d_key_ptr + sample * d_key_sample + token * d_key_token
    key = _unturned(
        start, d_key_head, before + D, key_weight_ptr, cos, sin, heads, columns, inside, eps, HEADS_BLOCK, WIDTH, BLOCK
    ).to(dense_ptr.dtype.element_ty)
    tl.store(dense + D, key, mask=inside)
    if codes_ptr is not None:
        largest = tl.abs(with_columns(query, columns_ptr, at, inside))
        largest = tl.maximum(largest, tl.abs(with_columns(key, columns_ptr, at + D, inside)))
        largest = tl.maximum(largest, tl.abs(with_columns(value, columns_ptr, at + 2 * D, inside)))
        to_codes = write_scale(tl.max(largest), scale_ptr, row)
        codes = codes_ptr + row * (3 * D) + at
        query_codes = with_columns(query, columns_ptr, at, inside) * to_codes
        tl.store(codes, query_codes.to(codes_ptr.dtype.element_ty), mask=inside)
        key_codes = with_columns(key, columns_ptr, at + D, inside) * to_codes
        tl.store(codes + D, key_codes.to(codes_ptr.dtype.element_ty), mask=inside)
        value_codes = with_columns(value, columns_ptr, at + 2 * D, inside) * to_codes
        tl.store(codes + 2 * D, value_codes.to(codes_ptr.dtype.element_ty), mask=inside)


def head_norm_rotate_backward(
    d_qkv_BSHE: tuple[Tensor, Tensor, Tensor], qkv_BSN: Tensor, weights_E: tuple[Tensor, Tensor], cos_SP: Tensor,
    sin_SP: Tensor, eps: float, out: RowOutput,
) -> None:  # fmt: skip
    """See `rows_torch.head_norm_rotate_backward`."""
    batch, tokens, heads, width = d_qkv_BSHE[0].shape
    gradients = [argument for part in d_qkv_BSHE for argument in _strided(part)]
    _backward[(batch * tokens,)](
        *gradients, qkv_BSN, qkv_BSN.stride(1), *weights_E, cos_SP, sin_SP, *places(out), tokens, eps,
        **_shape(launch_of("heads backward", out.codes), heads, width),
    )  # fmt: skip


@triton.jit(do_not_specialize=["tokens"])
def _fill(
    rows_ptr, rows_sample, rows_token, rows_head, dense_ptr, dense_stride, codes_ptr, scale_ptr, columns_ptr, tokens,
    HEADS: tl.constexpr, HEADS_BLOCK: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    heads = tl.arange(0, HEADS_BLOCK)[:, None]
    columns = tl.arange(0, BLOCK)[None, :]
    inside = (heads < HEADS) & (columns < WIDTH)
    start = rows_ptr + (row // tokens) * rows_sample + (row % tokens) * rows_token
    values = tl.load(start + heads * rows_head + columns, mask=inside, other=0.0)
    write_row(
        values, heads * WIDTH + columns, inside, row, dense_ptr, dense_stride, codes_ptr, scale_ptr, columns_ptr,
        WIDTH=HEADS * WIDTH,
    )  # fmt: skip


def fill(rows_BSHE: Tensor, out: RowOutput) -> None:
    """See `rows_torch.fill`."""
    batch, tokens, heads, width = rows_BSHE.shape
    shape = _shape(launch_of("fill", out.codes), heads, width)
    _fill[(batch * tokens,)](*_strided(rows_BSHE), *places(out), tokens, **shape)


def _strided(rows_BSHE: Tensor) -> tuple:
    """(rows, strides of sample, token and head); columns are made to lie side by side."""
    rows = rows_BSHE if rows_BSHE.stride(-1) == 1 else rows_BSHE.contiguous()
    sample, token, head, _ = rows.stride()
    return rows, sample if rows.shape[0] > 1 else 0, token, head


def _shape(launch: Launch, heads: int, width: int) -> dict[str, int]:
    heads_block, block = triton.next_power_of_2(heads), triton.next_power_of_2(width)
    shape = {"HEADS": heads, "HEADS_BLOCK": heads_block, "WIDTH": width, "BLOCK": block}
    return shape | options(launch, heads_block * block)

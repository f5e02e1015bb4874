"""The row operations of `rows_torch` as Triton kernels: one pass over memory each. Same names, same arguments.

A program takes whole rows, so that a mean over the row stays in registers. Sums over rows (gradients of scales and
gates) are kept per program and added up at the end.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS_FOR_SUMS = 16
"""Rows a program takes where it also sums over rows."""


def _warps(block: int) -> int:
    return max(1, min(16, block // 512))


@triton.jit
def _norm_scale(
    x_ptr, weight_ptr, scale_ptr, out_ptr, tokens, x_stride, out_stride, eps, D: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    x = tl.load(x_ptr + row.to(tl.int64) * x_stride + columns, mask=inside, other=0.0).to(tl.float32)
    weight = tl.load(weight_ptr + columns, mask=inside, other=0.0).to(tl.float32)
    scale = tl.load(scale_ptr + (row // tokens) * D + columns, mask=inside, other=0.0).to(tl.float32)
    inverse = tl.rsqrt(tl.sum(x * x, axis=0) / D + eps)
    y = x * inverse * weight * (1.0 + scale)
    tl.store(out_ptr + row.to(tl.int64) * out_stride + columns, y.to(out_ptr.dtype.element_ty), mask=inside)


def norm_scale(x_BSD: Tensor, weight_D: Tensor, scale_BD: Tensor, eps: float, out: Tensor) -> None:
    """See `rows_torch.norm_scale`."""
    batch, tokens, width = x_BSD.shape
    block = triton.next_power_of_2(width)
    _norm_scale[(batch * tokens,)](
        x_BSD, weight_D, scale_BD.contiguous(), out, tokens, x_BSD.stride(1), out.stride(1), eps,
        D=width, BLOCK=block, num_warps=_warps(block),
    )  # fmt: skip


@triton.jit
def _norm_scale_backward(
    d_out_ptr, d_x_ptr, x_ptr, weight_ptr, scale_ptr, out_ptr, sums_ptr, tokens, chunks,
    d_out_stride, d_x_stride, x_stride, eps, D: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    chunk = tl.program_id(0)
    sample = tl.program_id(1)
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    weight = tl.load(weight_ptr + columns, mask=inside, other=0.0).to(tl.float32)
    scale = 1.0 + tl.load(scale_ptr + sample * D + columns, mask=inside, other=0.0).to(tl.float32)
    sums = tl.zeros((BLOCK,), tl.float32)
    for step in range(ROWS):
        token = chunk * ROWS + step
        here = inside & (token + columns * 0 < tokens)
        row = (sample * tokens + token).to(tl.int64)
        x = tl.load(x_ptr + row * x_stride + columns, mask=here, other=0.0).to(tl.float32)
        d_out = tl.load(d_out_ptr + row * d_out_stride + columns, mask=here, other=0.0).to(tl.float32)
        d_x = tl.load(d_x_ptr + row * d_x_stride + columns, mask=here, other=0.0).to(tl.float32)
        inverse = tl.rsqrt(tl.sum(x * x, axis=0) / D + eps)
        normed = x * inverse
        sums += d_out * normed * weight
        d_normed = d_out * weight * scale
        d_x += inverse * (d_normed - normed * (tl.sum(d_normed * normed, axis=0) / D))
        tl.store(out_ptr + row * D + columns, d_x.to(out_ptr.dtype.element_ty), mask=here)
    tl.store(sums_ptr + (sample * chunks + chunk).to(tl.int64) * D + columns, sums, mask=inside)


def norm_scale_backward(
    d_out_BSD: Tensor, d_x_BSD: Tensor, x_BSD: Tensor, weight_D: Tensor, scale_BD: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """See `rows_torch.norm_scale_backward`."""
    batch, tokens, width = x_BSD.shape
    block, chunks = triton.next_power_of_2(width), triton.cdiv(tokens, _ROWS_FOR_SUMS)
    out = torch.empty(batch, tokens, width, dtype=x_BSD.dtype, device=x_BSD.device)
    sums = torch.empty(batch, chunks, width, dtype=torch.float32, device=x_BSD.device)
    _norm_scale_backward[(chunks, batch)](
        d_out_BSD, d_x_BSD, x_BSD, weight_D, scale_BD.contiguous(), out, sums, tokens, chunks,
        d_out_BSD.stride(1), d_x_BSD.stride(1), x_BSD.stride(1), eps,
        D=width, BLOCK=block, ROWS=_ROWS_FOR_SUMS, num_warps=_warps(block),
    )  # fmt: skip
    return out, sums.sum(1)


@triton.jit
def _join(
    x_ptr,
    branch_ptr,
    gate_ptr,
    weight_ptr,
    out_ptr,
    tokens,
    x_stride,
    branch_stride,
    eps,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    at = row.to(tl.int64)
    x = tl.load(x_ptr + at * x_stride + columns, mask=inside, other=0.0).to(tl.float32)
    branch = tl.load(branch_ptr + at * branch_stride + columns, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(gate_ptr + (row // tokens) * D + columns, mask=inside, other=0.0).to(tl.float32)
    weight = tl.load(weight_ptr + columns, mask=inside, other=0.0).to(tl.float32)
    inverse = tl.rsqrt(tl.sum(branch * branch, axis=0) / D + eps)
    tl.store(
        out_ptr + at * D + columns, (x + gate * branch * inverse * weight).to(out_ptr.dtype.element_ty), mask=inside
    )


def join(x_BSD: Tensor, branch_BSD: Tensor, gate_BD: Tensor, branch_weight_D: Tensor, eps: float) -> Tensor:
    """See `rows_torch.join`."""
    batch, tokens, width = x_BSD.shape
    block = triton.next_power_of_2(width)
    out = torch.empty(batch, tokens, width, dtype=x_BSD.dtype, device=x_BSD.device)
    _join[(batch * tokens,)](
        x_BSD, branch_BSD, gate_BD.contiguous(), branch_weight_D, out, tokens, x_BSD.stride(1), branch_BSD.stride(1),
        eps, D=width, BLOCK=block, num_warps=_warps(block),
    )  # fmt: skip
    return out


@triton.jit
def _join_backward(
    d_joined_ptr, branch_ptr, gate_ptr, weight_ptr, out_ptr, sums_ptr, tokens, chunks, d_joined_stride,
    branch_stride, out_stride, eps, D: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    chunk = tl.program_id(0)
    sample = tl.program_id(1)
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    weight = tl.load(weight_ptr + columns, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(gate_ptr + sample * D + columns, mask=inside, other=0.0).to(tl.float32)
    sums = tl.zeros((BLOCK,), tl.float32)
    for step in range(ROWS):
        token = chunk * ROWS + step
        here = inside & (token + columns * 0 < tokens)
        row = (sample * tokens + token).to(tl.int64)
        branch = tl.load(branch_ptr + row * branch_stride + columns, mask=here, other=0.0).to(tl.float32)
        d_joined = tl.load(d_joined_ptr + row * d_joined_stride + columns, mask=here, other=0.0).to(tl.float32)
        inverse = tl.rsqrt(tl.sum(branch * branch, axis=0) / D + eps)
        normed = branch * inverse
        weighted = d_joined * weight
        sums += weighted * normed
        d_normed = weighted * gate
        d_branch = inverse * (d_normed - normed * (tl.sum(d_normed * normed, axis=0) / D))
        tl.store(out_ptr + row * out_stride + columns, d_branch.to(out_ptr.dtype.element_ty), mask=here)
    tl.store(sums_ptr + (sample * chunks + chunk).to(tl.int64) * D + columns, sums, mask=inside)


def join_backward(
    d_joined_BSD: Tensor, branch_BSD: Tensor, gate_BD: Tensor, branch_weight_D: Tensor, eps: float, out: Tensor
) -> Tensor:
    """See `rows_torch.join_backward`."""
    batch, tokens, width = branch_BSD.shape
    block, chunks = triton.next_power_of_2(width), triton.cdiv(tokens, _ROWS_FOR_SUMS)
    sums = torch.empty(batch, chunks, width, dtype=torch.float32, device=branch_BSD.device)
    _join_backward[(chunks, batch)](
        d_joined_BSD, branch_BSD, gate_BD.contiguous(), branch_weight_D, out, sums, tokens, chunks,
        d_joined_BSD.stride(1), branch_BSD.stride(1), out.stride(1), eps,
        D=width, BLOCK=block, ROWS=_ROWS_FOR_SUMS, num_warps=_warps(block),
    )  # fmt: skip
    return sums.sum(1)


@triton.jit
def _head_norm_rotate(
    x_ptr, weight_ptr, cos_ptr, sin_ptr, out_ptr, tokens, x_token, x_head, out_token, out_head, eps,
    HEADS: tl.constexpr, HEADS_BLOCK: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    heads = tl.arange(0, HEADS_BLOCK)[:, None]
    columns = tl.arange(0, BLOCK)[None, :]
    inside = (heads < HEADS) & (columns < WIDTH)
    start = x_ptr + row.to(tl.int64) * x_token
    x = tl.load(start + heads * x_head + columns, mask=inside, other=0.0).to(tl.float32)
    inverse = tl.rsqrt(tl.sum(x * x, axis=1) / WIDTH + eps)[:, None]
    x = x * inverse * tl.load(weight_ptr + columns, mask=columns < WIDTH, other=0.0).to(tl.float32)
    pairs = tl.arange(0, BLOCK // 2)[None, :]
    angle = (row % tokens) * (WIDTH // 2) + pairs
    cos = tl.load(cos_ptr + angle, mask=pairs < WIDTH // 2, other=0.0)
    sin = tl.load(sin_ptr + angle, mask=pairs < WIDTH // 2, other=0.0)
    even, odd = tl.split(tl.reshape(x, (HEADS_BLOCK, BLOCK // 2, 2)))
    turned = tl.reshape(tl.join(even * cos - odd * sin, even * sin + odd * cos), (HEADS_BLOCK, BLOCK))
    to = out_ptr + row.to(tl.int64) * out_token + heads * out_head + columns
    tl.store(to, turned.to(out_ptr.dtype.element_ty), mask=inside)


def head_norm_rotate(x_BSNE: Tensor, weight_E: Tensor, cos_SR: Tensor, sin_SR: Tensor, eps: float, out: Tensor) -> None:
    """See `rows_torch.head_norm_rotate`."""
    batch, tokens, heads, width = x_BSNE.shape
    _head_norm_rotate[(batch * tokens,)](
        x_BSNE, weight_E, cos_SR, sin_SR, out, tokens, x_BSNE.stride(1), x_BSNE.stride(2), out.stride(1), out.stride(2),
        eps, HEADS=heads, HEADS_BLOCK=triton.next_power_of_2(heads), WIDTH=width,
        BLOCK=triton.next_power_of_2(width), num_warps=8,
    )  # fmt: skip


@triton.jit
def _head_norm_rotate_backward(
    d_ptr, x_ptr, weight_ptr, cos_ptr, sin_ptr, out_ptr, tokens, d_token, d_head, x_token, x_head, out_token, out_head,
    eps, HEADS: tl.constexpr, HEADS_BLOCK: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    heads = tl.arange(0, HEADS_BLOCK)[:, None]
    columns = tl.arange(0, BLOCK)[None, :]
    inside = (heads < HEADS) & (columns < WIDTH)
    at = row.to(tl.int64)
    x = tl.load(x_ptr + at * x_token + heads * x_head + columns, mask=inside, other=0.0).to(tl.float32)
    d = tl.load(d_ptr + at * d_token + heads * d_head + columns, mask=inside, other=0.0).to(tl.float32)
    pairs = tl.arange(0, BLOCK // 2)[None, :]
    angle = (row % tokens) * (WIDTH // 2) + pairs
    cos = tl.load(cos_ptr + angle, mask=pairs < WIDTH // 2, other=0.0)
    sin = tl.load(sin_ptr + angle, mask=pairs < WIDTH // 2, other=0.0)
    first, second = tl.split(tl.reshape(d, (HEADS_BLOCK, BLOCK // 2, 2)))
    d = tl.reshape(tl.join(first * cos + second * sin, second * cos - first * sin), (HEADS_BLOCK, BLOCK))
    d = d * tl.load(weight_ptr + columns, mask=columns < WIDTH, other=0.0).to(tl.float32)
    inverse = tl.rsqrt(tl.sum(x * x, axis=1) / WIDTH + eps)[:, None]
    x = x * inverse
    d = inverse * (d - x * (tl.sum(d * x, axis=1) / WIDTH)[:, None])
    to = out_ptr + at * out_token + heads * out_head + columns
    tl.store(to, d.to(out_ptr.dtype.element_ty), mask=inside)


def head_norm_rotate_backward(
    d_out_BSNE: Tensor, x_BSNE: Tensor, weight_E: Tensor, cos_SR: Tensor, sin_SR: Tensor, eps: float, out: Tensor
) -> None:
    """See `rows_torch.head_norm_rotate_backward`."""
    batch, tokens, heads, width = x_BSNE.shape
    _head_norm_rotate_backward[(batch * tokens,)](
        d_out_BSNE, x_BSNE, weight_E, cos_SR, sin_SR, out, tokens, d_out_BSNE.stride(1), d_out_BSNE.stride(2),
        x_BSNE.stride(1), x_BSNE.stride(2), out.stride(1), out.stride(2), eps,
        HEADS=heads, HEADS_BLOCK=triton.next_power_of_2(heads), WIDTH=width,
        BLOCK=triton.next_power_of_2(width), num_warps=8,
    )  # fmt: skip


@triton.jit
def _swiglu(up_ptr, out_ptr, up_stride, out_stride, F: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < F
    gate = tl.load(up_ptr + row * up_stride + columns, mask=inside, other=0.0).to(tl.float32)
    value = tl.load(up_ptr + row * up_stride + F + columns, mask=inside, other=0.0).to(tl.float32)
    hidden = gate * tl.sigmoid(gate) * value
    tl.store(out_ptr + row * out_stride + columns, hidden.to(out_ptr.dtype.element_ty), mask=inside)


def swiglu(up_BSF2: Tensor, out: Tensor) -> None:
    """See `rows_torch.swiglu`."""
    batch, tokens, width = up_BSF2.shape
    block = min(2048, triton.next_power_of_2(width // 2))
    grid = (batch * tokens, triton.cdiv(width // 2, block))
    _swiglu[grid](up_BSF2, out, up_BSF2.stride(1), out.stride(1), F=width // 2, BLOCK=block, num_warps=4)


@triton.jit
def _swiglu_backward(
    d_ptr,
    up_ptr,
    d_up_ptr,
    hidden_ptr,
    d_stride,
    up_stride,
    d_up_stride,
    hidden_stride,
    F: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < F
    gate = tl.load(up_ptr + row * up_stride + columns, mask=inside, other=0.0).to(tl.float32)
    value = tl.load(up_ptr + row * up_stride + F + columns, mask=inside, other=0.0).to(tl.float32)
    d_hidden = tl.load(d_ptr + row * d_stride + columns, mask=inside, other=0.0).to(tl.float32)
    sigmoid = tl.sigmoid(gate)
    silu = gate * sigmoid
    d_gate = d_hidden * value * sigmoid * (1.0 + gate * (1.0 - sigmoid))
    tl.store(hidden_ptr + row * hidden_stride + columns, (silu * value).to(hidden_ptr.dtype.element_ty), mask=inside)
    tl.store(d_up_ptr + row * d_up_stride + columns, d_gate.to(d_up_ptr.dtype.element_ty), mask=inside)
    tl.store(d_up_ptr + row * d_up_stride + F + columns, (d_hidden * silu).to(d_up_ptr.dtype.element_ty), mask=inside)


def swiglu_backward(d_hidden_BSF: Tensor, up_BSF2: Tensor, out: Tensor, hidden_out: Tensor) -> None:
    """See `rows_torch.swiglu_backward`."""
    batch, tokens, width = up_BSF2.shape
    block = min(2048, triton.next_power_of_2(width // 2))
    grid = (batch * tokens, triton.cdiv(width // 2, block))
    _swiglu_backward[grid](
        d_hidden_BSF, up_BSF2, out, hidden_out, d_hidden_BSF.stride(1), up_BSF2.stride(1), out.stride(1),
        hidden_out.stride(1),
        F=width // 2, BLOCK=block, num_warps=4,
    )  # fmt: skip

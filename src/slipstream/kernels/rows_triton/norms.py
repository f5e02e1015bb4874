"""Norms and joins of the stream: forward in one kernel, backward in one; either half of each may be left out."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from slipstream.kernels.row_output import Normed, RowOutput
from slipstream.kernels.rows_triton.launch import launch_of, options
from slipstream.kernels.rows_triton.output import places, write_row

_NOWHERE = (None, 0, None, None, None)


@triton.jit(do_not_specialize=["tokens"])
def _forward(
    x_ptr, x_stride, branch_ptr, branch_stride, gate_ptr, gate_stride, joined_ptr,
    factor_ptr, factor_stride, inverse_ptr, dense_ptr, dense_stride, codes_ptr, scale_ptr, columns_ptr,
    tokens, eps, D: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    sample = row // tokens
    at = tl.arange(0, BLOCK)
    inside = at < D
    x = tl.load(x_ptr + row * x_stride + at, mask=inside, other=0.0).to(tl.float32)
    if branch_ptr is not None:
        branch = tl.load(branch_ptr + row * branch_stride + at, mask=inside, other=0.0).to(tl.float32)
        gate = tl.load(gate_ptr + sample * gate_stride + at, mask=inside, other=0.0)
        joined = x + gate * (branch * tl.rsqrt(tl.sum(branch * branch, axis=0) / D + eps))
        rounded = joined.to(joined_ptr.dtype.element_ty)
        tl.store(joined_ptr + row * D + at, rounded, mask=inside)
        x = rounded.to(tl.float32)
    if factor_ptr is not None:
        factor = tl.load(factor_ptr + sample * factor_stride + at, mask=inside, other=0.0)
        inverse = tl.rsqrt(tl.sum(x * x, axis=0) / D + eps)
        tl.store(inverse_ptr + row, inverse)
        write_row(
            x * inverse * factor, at, inside, row, dense_ptr, dense_stride, codes_ptr, scale_ptr, columns_ptr, WIDTH=D
        )


@triton.jit(do_not_specialize=["tokens", "rows", "programs"])
def _backward(
    d_x_ptr, d_x_stride, d_out_ptr, d_out_stride, x_ptr, x_stride, inverse_ptr, factor_ptr, factor_stride, d_joined_ptr,
    branch_ptr, branch_stride, gate_ptr, gate_stride, dense_ptr, dense_stride, codes_ptr, scale_ptr, columns_ptr,
    factor_sums_ptr, gate_sums_ptr, tokens, rows, programs, eps,
    D: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    sample = tl.program_id(1)
    at = tl.arange(0, BLOCK)
    factor_sums = tl.zeros((BLOCK,), tl.float32)
    gate_sums = tl.zeros((BLOCK,), tl.float32)
    first = program * rows
    for token in tl.range(first, tl.minimum(first + rows, tokens), num_stages=STAGES):
        inside = at < D
        row = sample.to(tl.int64) * tokens + token
        d_x = tl.load(d_x_ptr + row * d_x_stride + at, mask=inside, other=0.0).to(tl.float32)
        if branch_ptr is not None:
            branch = tl.load(branch_ptr + row * branch_stride + at, mask=inside, other=0.0).to(tl.float32)
        if d_out_ptr is not None:
            d_out = tl.load(d_out_ptr + row * d_out_stride + at, mask=inside, other=0.0).to(tl.float32)
            x = tl.load(x_ptr + row * x_stride + at, mask=inside, other=0.0).to(tl.float32)
            factor = tl.load(factor_ptr + sample * factor_stride + at, mask=inside, other=0.0)
            inverse = tl.load(inverse_ptr + row)
            unit = x * inverse
            if factor_sums_ptr is not None:
                factor_sums += d_out * unit
            d_unit = d_out * factor
            d_x += inverse * (d_unit - unit * (tl.sum(d_unit * unit, axis=0) / D))
            rounded = d_x.to(d_joined_ptr.dtype.element_ty)
            tl.store(d_joined_ptr + row * D + at, rounded, mask=inside)
            d_x = rounded.to(tl.float32)
        if branch_ptr is not None:
            gate = tl.load(gate_ptr + sample * gate_stride + at, mask=inside, other=0.0)
            inverse = tl.rsqrt(tl.sum(branch * branch, axis=0) / D + eps)
            unit = branch * inverse
            if gate_sums_ptr is not None:
                gate_sums += d_x * unit
            d_unit = d_x * gate
            d_branch = inverse * (d_unit - unit * (tl.sum(d_unit * unit, axis=0) / D))
            write_row(d_branch, at, inside, row, dense_ptr, dense_stride, codes_ptr, scale_ptr, columns_ptr, WIDTH=D)
    to = (sample * programs + program).to(tl.int64) * D + at
    if factor_sums_ptr is not None:
        tl.store(factor_sums_ptr + to, factor_sums, mask=at < D)
    if gate_sums_ptr is not None:
        tl.store(gate_sums_ptr + to, gate_sums, mask=at < D)


def norm_scale(x_BSD: Tensor, factor_BD: Tensor, eps: float, out: RowOutput) -> Normed:
    """See `rows_torch.norm_scale`."""
    batch, tokens, width = x_BSD.shape
    inverse = torch.empty(batch, tokens, 1, dtype=torch.float32, device=x_BSD.device)
    block = triton.next_power_of_2(width)
    _forward[(batch * tokens,)](
        x_BSD, x_BSD.stride(1), None, 0, None, 0, None, factor_BD, factor_BD.stride(0), inverse, *places(out),
        tokens, eps, D=width, BLOCK=block, **options(launch_of("norms", out.codes), block),
    )  # fmt: skip
    return Normed(x_BSD, inverse, factor_BD)


def join(x_BSD: Tensor, branch_BSD: Tensor, gate_BD: Tensor, eps: float) -> Tensor:
    """See `rows_torch.join`."""
    batch, tokens, width = x_BSD.shape
    joined = torch.empty_like(x_BSD, memory_format=torch.contiguous_format)
    block = triton.next_power_of_2(width)
    _forward[(batch * tokens,)](
        x_BSD, x_BSD.stride(1), branch_BSD, branch_BSD.stride(1), gate_BD, gate_BD.stride(0), joined,
        None, 0, None, *_NOWHERE, tokens, eps, D=width, BLOCK=block, **options(launch_of("norms"), block),
    )  # fmt: skip
    return joined


def join_norm_scale(
    x_BSD: Tensor, branch_BSD: Tensor, gate_BD: Tensor, factor_BD: Tensor, eps: float, out: RowOutput
) -> Normed:
    """See `rows_torch.join_norm_scale`."""
    batch, tokens, width = x_BSD.shape
    joined = torch.empty_like(x_BSD, memory_format=torch.contiguous_format)
    inverse = torch.empty(batch, tokens, 1, dtype=torch.float32, device=x_BSD.device)
    block = triton.next_power_of_2(width)
    _forward[(batch * tokens,)](
        x_BSD, x_BSD.stride(1), branch_BSD, branch_BSD.stride(1), gate_BD, gate_BD.stride(0), joined,
        factor_BD, factor_BD.stride(0), inverse, *places(out), tokens, eps,
        D=width, BLOCK=block, **options(launch_of("norms", out.codes), block),
    )  # fmt: skip
    return Normed(joined, inverse, factor_BD)


def norm_scale_backward(d_out_BSD: Tensor, d_x_BSD: Tensor, normed: Normed, d_factor_BD: Tensor | None) -> Tensor:
    """See `rows_torch.norm_scale_backward`."""
    d_joined = torch.empty_like(normed.rows, memory_format=torch.contiguous_format)
    _launch_backward(d_x_BSD, (*_norm(d_out_BSD, normed), d_joined), _NO_BRANCH, None, 0.0, (d_factor_BD, None))
    return d_joined


def join_backward(
    d_joined_BSD: Tensor, branch_BSD: Tensor, gate_BD: Tensor, eps: float, out: RowOutput, d_gate_BD: Tensor | None
) -> None:
    """See `rows_torch.join_backward`."""
    _launch_backward(d_joined_BSD, _NO_NORM, _branch(branch_BSD, gate_BD), out, eps, (None, d_gate_BD))


def norm_scale_join_backward(
    d_out_BSD: Tensor, d_x_BSD: Tensor, normed: Normed, branch_BSD: Tensor, gate_BD: Tensor, eps: float,
    out: RowOutput, d_factor_BD: Tensor | None, d_gate_BD: Tensor | None,
) -> Tensor:  # fmt: skip
    """See `rows_torch.norm_scale_join_backward`."""
    d_joined = torch.empty_like(normed.rows, memory_format=torch.contiguous_format)
    norm, branch = (*_norm(d_out_BSD, normed), d_joined), _branch(branch_BSD, gate_BD)
    _launch_backward(d_x_BSD, norm, branch, out, eps, (d_factor_BD, d_gate_BD))
    return d_joined


_NO_NORM = (None, 0, None, 0, None, None, 0, None)
_NO_BRANCH = (None, 0, None, 0)


def _norm(d_out: Tensor, normed: Normed) -> tuple:
    rows, factor = normed.rows, normed.factor
    return d_out, d_out.stride(1), rows, rows.stride(1), normed.inverse, factor, factor.stride(0)


def _branch(branch: Tensor, gate: Tensor) -> tuple:
    return branch, branch.stride(1), gate, gate.stride(0)


def _launch_backward(
    d_x: Tensor, norm: tuple, branch: tuple, out: RowOutput | None, eps: float,
    sums: tuple[Tensor | None, Tensor | None],
) -> None:  # fmt: skip
    """Run `_backward`; where sums are wanted a program takes many rows, otherwise one."""
    batch, tokens, width = d_x.shape
    wants_sums = any(part is not None for part in sums)
    kernel = "norms backward with sums" if wants_sums else "norms backward"
    launch = launch_of(kernel, None if out is None else out.codes)
    rows = triton.cdiv(tokens * batch, launch.programs) if wants_sums else 1
    programs, block = triton.cdiv(tokens, rows), triton.next_power_of_2(width)
    partial = [
        None if part is None else torch.empty(batch, programs, width, dtype=torch.float32, device=d_x.device)
        for part in sums
    ]
    _backward[(programs, batch)](
        d_x, d_x.stride(1), *norm, *branch, *(_NOWHERE if out is None else places(out)), *partial,
        tokens, rows, programs, eps, D=width, BLOCK=block, STAGES=launch.stages if d_x.itemsize == 2 else 1,
        **options(launch, block),
    )  # fmt: skip
    for found, part in zip(partial, sums, strict=True):
        if found is not None and part is not None:
            torch.sum(found, dim=1, out=part)

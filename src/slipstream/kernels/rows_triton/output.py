"""How kernels write into a `RowOutput`."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from slipstream.kernels.row_output import RowOutput

LARGEST_CODE = tl.constexpr(448.0)
SMALLEST_ROW = tl.constexpr(1e-30)


def places(out: RowOutput) -> tuple[Any, ...]:
    """(dense, row stride, codes, scale, columns): a kernel's arguments for an output, in this order everywhere."""
    return out.dense, out.dense.stride(0), out.codes, out.scale, out.columns


@triton.jit
def with_columns(values, columns_ptr, at, inside):
    """Rounded values times the output's factors on columns, fp32: what becomes codes."""
    values = values.to(tl.float32)
    if columns_ptr is not None:
        values *= tl.load(columns_ptr + at, mask=inside, other=0.0)
    return values


@triton.jit
def write_scale(largest, scale_ptr, row):
    """Write a row's scale; returns what turns its numbers into codes: none leaves e4m3's range, so nothing is cut."""
    largest = tl.maximum(largest, SMALLEST_ROW)
    tl.store(scale_ptr + row, largest / LARGEST_CODE)
    return LARGEST_CODE / largest


@triton.jit
def write_row(values, at, inside, row, dense_ptr, dense_stride, codes_ptr, scale_ptr, columns_ptr, WIDTH: tl.constexpr):
    """A whole row, held by the program, into dense and codes."""
    rounded = values.to(dense_ptr.dtype.element_ty)
    tl.store(dense_ptr + row * dense_stride + at, rounded, mask=inside)
    if codes_ptr is not None:
        values = with_columns(rounded, columns_ptr, at, inside)
        to_codes = write_scale(tl.max(tl.abs(values)), scale_ptr, row)
        tl.store(codes_ptr + row * WIDTH + at, (values * to_codes).to(codes_ptr.dtype.element_ty), mask=inside)

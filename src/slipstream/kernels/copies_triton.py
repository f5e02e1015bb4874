"""The kernel behind `copies.CopyTable`: a program copies a piece of one matrix, whose address it reads from a table."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

_PIECE = 4096
_FIELDS = 6
_TYPES = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}


@triton.jit
def _copy(table_ptr, factor_ptr, FIELDS: tl.constexpr, PIECE: tl.constexpr, SOURCE: tl.constexpr, TARGET: tl.constexpr):
    number = tl.program_id(0)
    row = table_ptr + number * FIELDS
    source = tl.load(row).to(tl.pointer_type(SOURCE))
    target = tl.load(row + 1).to(tl.pointer_type(TARGET))
    height, width = tl.load(row + 2), tl.load(row + 3)
    source_stride, target_stride = tl.load(row + 4), tl.load(row + 5)
    places = tl.program_id(1).to(tl.int64) * PIECE + tl.arange(0, PIECE)
    inside = places < height * width
    line, column = places // width, places % width
    values = tl.load(source + line * source_stride + column, mask=inside, other=0.0).to(tl.float32)
    scaled = values * tl.load(factor_ptr + number)
    tl.store(target + line * target_stride + column, scaled.to(TARGET), mask=inside)


def run_table(table: Any, source: torch.dtype, target: torch.dtype) -> None:
    """Launch one program per piece of the largest matrix for every matrix."""
    grid = (len(table.numbers), triton.cdiv(table.largest, _PIECE))
    _copy[grid](
        table.numbers, table.values, FIELDS=_FIELDS, PIECE=_PIECE, SOURCE=_TYPES[source], TARGET=_TYPES[target],
        num_warps=4,
    )  # fmt: skip

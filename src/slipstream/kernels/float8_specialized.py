"""The product of `float8_triton` with warps of their own for loading: one group loads, two multiply half a tile each.

Loads of the next tile go on while this one is scaled and stored. Triton builds it so for Hopper only, from tensor
descriptors that are made in the kernel.

Shape legend: R rows (batch times tokens), K summed, M columns of the result, P ranks (a multiple of 64, or none).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor


@dataclass(frozen=True)
class SpecializedTiles:
    """How the kernel cuts the product. Shared memory holds the low-rank term's tiles `stages` times too.

    Attributes:
        rows, columns, inner: tile of the result, and of the sum.
        stages: tiles of the operands on the way at once.
        rank_step: ranks of the low-rank term in one step.
        direct: store the result without a tile of it in shared memory.
        group: row tiles that share a column tile before the next one, for the cache.
    """

    rows: int
    columns: int
    inner: int
    stages: int
    rank_step: int
    direct: bool = False
    group: int = 16

    @property
    def name(self) -> str:
        """As in the log: `128x256x128, 3 stages, loading warps`."""
        extra = ", direct" if self.direct else ""
        return f"{self.rows}x{self.columns}x{self.inner}, {self.stages} stages, loading warps{extra}"


SPECIALIZED = (
    SpecializedTiles(128, 256, 128, 3, 16, direct=True),
    SpecializedTiles(128, 256, 128, 2, 32),
    SpecializedTiles(128, 256, 64, 4, 16),
    SpecializedTiles(128, 128, 128, 4, 32),
)
"""What fits into a Hopper multiprocessor's shared memory."""


@triton.jit
def _multiply_specialized(
    codes_ptr, weight_ptr, h_ptr, up_ptr, out_ptr, scale_ptr, columns_ptr, R, M, K, h_stride, up_stride,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr, RANKS: tl.constexpr, RANK_STEP: tl.constexpr,
    UP_BY_RANK: tl.constexpr, GROUP: tl.constexpr, DIRECT: tl.constexpr,
):  # fmt: skip
    codes = tl.make_tensor_descriptor(codes_ptr, [R, K], [K, 1], [ROWS, INNER])
    weight = tl.make_tensor_descriptor(weight_ptr, [M, K], [K, 1], [COLUMNS, INNER])
    out = tl.make_tensor_descriptor(out_ptr, [R, M], [M, 1], [ROWS, COLUMNS])
    if RANKS > 0:
        h = tl.make_tensor_descriptor(h_ptr, [R, RANKS], [h_stride, 1], [ROWS, RANK_STEP])
        if UP_BY_RANK:
            up = tl.make_tensor_descriptor(up_ptr, [RANKS, M], [up_stride, 1], [RANK_STEP, COLUMNS])
        else:
            up = tl.make_tensor_descriptor(up_ptr, [M, RANKS], [up_stride, 1], [COLUMNS, RANK_STEP])
    row_tiles = tl.cdiv(R, ROWS)
    column_tiles = tl.cdiv(M, COLUMNS)
    in_group = GROUP * column_tiles
    for tile in tl.range(tl.program_id(0), row_tiles * column_tiles, tl.num_programs(0), warp_specialize=True):
        first = (tile // in_group) * GROUP
        size = tl.minimum(row_tiles - first, GROUP)
        row = (first + (tile % in_group) % size) * ROWS
        column = ((tile % in_group) // size) * COLUMNS
        total = tl.zeros((ROWS, COLUMNS), tl.float32)
        for step in range(tl.cdiv(K, INNER)):
            left = codes.load([row, step * INNER])
            right = weight.load([column, step * INNER])
            total = tl.dot(left, right.T, total)
        at_rows = row + tl.arange(0, ROWS)
        at_columns = column + tl.arange(0, COLUMNS)
        scale = tl.load(scale_ptr + at_rows, mask=at_rows < R, other=0.0)
        factor = tl.load(columns_ptr + at_columns, mask=at_columns < M, other=0.0)
        total = total * scale[:, None] * factor[None, :]
        if RANKS > 0:
            for rank in range(0, RANKS, RANK_STEP):
                part = up.load([rank, column]) if UP_BY_RANK else up.load([column, rank]).T
                total = tl.dot(h.load([row, rank]), part, total)
        if DIRECT:
            inside = (at_rows < R)[:, None] & (at_columns < M)[None, :]
            to = out_ptr + at_rows[:, None].to(tl.int64) * M + at_columns[None, :]
            tl.store(to, total.to(out_ptr.dtype.element_ty), mask=inside)
        else:
            out.store([row, column], total.to(out_ptr.dtype.element_ty))


def multiply_specialized(
    tiles: SpecializedTiles, codes_RK: Tensor, scale_R1: Tensor, weight_MK: Tensor, columns_M: Tensor,
    h_RP: Tensor | None, up_MP: Tensor | None,
) -> Tensor:  # fmt: skip
    """(R, M) in bf16; operands as in `float8.Multiply`."""
    (rows, inner), columns = codes_RK.shape, weight_MK.shape[0]
    out = torch.empty(rows, columns, dtype=torch.bfloat16, device=codes_RK.device)
    ranks, low, high = (0, out, out) if h_RP is None or up_MP is None else (h_RP.shape[1], h_RP, up_MP)
    by_rank = high.stride(1) != 1
    programs = triton.cdiv(rows, tiles.rows) * triton.cdiv(columns, tiles.columns)
    if codes_RK.device.type == "cuda":
        programs = min(programs, torch.cuda.get_device_properties(codes_RK.device).multi_processor_count)
        triton.set_allocator(_scratch)
    _multiply_specialized[(programs,)](
        codes_RK, weight_MK, low, high, out, scale_R1, columns_M, rows, columns, inner, low.stride(0),
        high.stride(1) if by_rank else high.stride(0),
        ROWS=tiles.rows, COLUMNS=tiles.columns, INNER=tiles.inner, RANKS=ranks, RANK_STEP=tiles.rank_step,
        UP_BY_RANK=by_rank, GROUP=tiles.group, DIRECT=tiles.direct, num_stages=tiles.stages, num_warps=4,
    )  # fmt: skip
    return out


def _scratch(size: int, alignment: int, stream: int | None) -> Tensor:
    """Where the kernel writes its tensor descriptors; asked for at every launch, in whichever thread that is."""
    return torch.empty(size, dtype=torch.int8, device="cuda")

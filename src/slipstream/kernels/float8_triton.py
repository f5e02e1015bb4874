"""A float8 matrix product with row and column scales and a low-rank term, as one Triton kernel.

    out (R, M) = (codes (R, K) @ weight (M, K)') * scale (R, 1) * columns (M,) + h (R, P) @ up (M, P)'

The tile is summed over K in float8 tensor cores; while it is still in registers it is scaled and the low-rank term
takes part as a last step of the sum in bf16. So the term costs no pass over `out`.

Shape legend: R rows (batch times tokens), K summed, M columns of the result, P ranks (a multiple of 64, or none).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

_RANK_STEP = 64


@dataclass(frozen=True)
class Tiles:
    """How the kernel cuts the product.

    Attributes:
        rows, columns, inner: tile of the result, and of the sum.
        stages: tiles of the operands on the way at once.
        warps: per program.
        persistent: as many programs as the GPU has multiprocessors, each with several tiles in turn.
        flatten: run tiles and sum as one loop, so that a tile's first operands load while the last one is stored.
        group: row tiles that share a column tile before the next one, for the cache.
    """

    rows: int
    columns: int
    inner: int
    stages: int
    warps: int
    persistent: bool = False
    flatten: bool = False
    group: int = 16

    @property
    def name(self) -> str:
        """As in the log: `128x256x128, 3 stages, 8 warps, persistent`."""
        traits = ("persistent", "flatten")
        extras = "".join(f", {trait}" for trait in traits if getattr(self, trait))
        return f"{self.rows}x{self.columns}x{self.inner}, {self.stages} stages, {self.warps} warps{extras}"


CANDIDATES = (
    Tiles(128, 256, 128, 3, 8, persistent=True, flatten=True),
    Tiles(128, 128, 128, 3, 4),
)
"""What a training times at its start: on an H100 the best at 2,000 rows and more, and at 1,152 (`docs/LOG.md`).

Each takes a second or two to build, once per machine.
"""


@triton.jit
def _multiply(
    codes, weight, h, up, out, scale_ptr, columns_ptr, R, M, K,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr, RANKS: tl.constexpr, RANK_STEP: tl.constexpr,
    UP_BY_RANK: tl.constexpr, GROUP: tl.constexpr, FLATTEN: tl.constexpr,
):  # fmt: skip
    row_tiles = tl.cdiv(R, ROWS)
    column_tiles = tl.cdiv(M, COLUMNS)
    steps = tl.cdiv(K, INNER)
    in_group = GROUP * column_tiles
    for tile in tl.range(tl.program_id(0), row_tiles * column_tiles, tl.num_programs(0), flatten=FLATTEN):
        first = (tile // in_group) * GROUP
        size = tl.minimum(row_tiles - first, GROUP)
        row = (first + (tile % in_group) % size) * ROWS
        column = ((tile % in_group) // size) * COLUMNS
        total = tl.zeros((ROWS, COLUMNS), tl.float32)
        for step in range(steps):
            left = codes.load([row, step * INNER])
            right = weight.load([column, step * INNER])
            total = tl.dot(left, right.T, total)
        at_rows = row + tl.arange(0, ROWS)
        at_columns = column + tl.arange(0, COLUMNS)
        scale = tl.load(scale_ptr + at_rows, mask=at_rows < R, other=0.0)
        factor = tl.load(columns_ptr + at_columns, mask=at_columns < M, other=0.0)
        total = total * scale[:, None] * factor[None, :]
        for rank in tl.static_range(0, RANKS, RANK_STEP):
            part = up.load([rank, column]) if UP_BY_RANK else up.load([column, rank]).T
            total = tl.dot(h.load([row, rank]), part, total)
        halves = tl.permute(tl.reshape(total, (ROWS, 2, COLUMNS // 2)), (0, 2, 1))
        first_half, second_half = tl.split(halves)
        out.store([row, column], first_half.to(out.dtype))
        out.store([row, column + COLUMNS // 2], second_half.to(out.dtype))


def multiply(
    tiles: Tiles, codes_RK: Tensor, scale_R1: Tensor, weight_MK: Tensor, columns_M: Tensor, h_RP: Tensor | None,
    up_MP: Tensor | None,
) -> Tensor:  # fmt: skip
    """(R, M) in bf16; operands as in `float8.Multiply`."""
    (rows, inner), columns = codes_RK.shape, weight_MK.shape[0]
    out = torch.empty(rows, columns, dtype=torch.bfloat16, device=codes_RK.device)
    ranks = 0 if h_RP is None else h_RP.shape[1]
    by_rank = up_MP is not None and up_MP.stride(1) != 1
    result = TensorDescriptor.from_tensor(out, [tiles.rows, tiles.columns // 2])
    left = TensorDescriptor.from_tensor(codes_RK, [tiles.rows, tiles.inner])
    right = TensorDescriptor.from_tensor(weight_MK, [tiles.columns, tiles.inner])
    low, high = result, result
    if h_RP is not None and up_MP is not None:
        low = TensorDescriptor.from_tensor(h_RP, [tiles.rows, _RANK_STEP])
        if by_rank:
            high = TensorDescriptor.from_tensor(up_MP.T, [_RANK_STEP, tiles.columns])
        else:
            high = TensorDescriptor.from_tensor(up_MP, [tiles.columns, _RANK_STEP])
    programs = triton.cdiv(rows, tiles.rows) * triton.cdiv(columns, tiles.columns)
    if tiles.persistent:
        programs = min(programs, _multiprocessors(codes_RK.device))
    _multiply[(programs,)](
        left, right, low, high, result, scale_R1, columns_M, rows, columns, inner,
        ROWS=tiles.rows, COLUMNS=tiles.columns, INNER=tiles.inner, RANKS=ranks, RANK_STEP=_RANK_STEP,
        UP_BY_RANK=by_rank, GROUP=tiles.group, FLATTEN=tiles.flatten,
        num_stages=tiles.stages, num_warps=tiles.warps,
    )  # fmt: skip
    return out


def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 2

"""How a frozen weight is kept in 8 or 4 bits, in plain torch: any device, no kernel library.

Every scheme packs a weight (out, in) into a few named tensors and unpacks them into a dense weight again. Scales are
bf16 numbers from the start and the weight is divided by exactly those, so that rounding them costs nothing.

| scheme | codes | scale | bits per weight |
|---|---|---|---|
| `float8` | e4m3 (4 exponent, 3 mantissa bits) | one a row, largest value = 448 | 8 |
| `int8` | -127...127, evenly spaced | one a row, largest value = 127 | 8 |
| `nf4` | 16 levels at the quantiles of a normal distribution | the best of 8 a block of 64, of either sign | 4.25 |

One scale for a whole tensor would not do: Z-Image's feed-forward weights have outlier rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

Packed = dict[str, Tensor]
Shape = tuple[int, int]

SMALLEST_SCALE = 1e-30
"""Stands in for the scale of a row or block of zeros."""

FLOAT8 = torch.float8_e4m3fn
FLOAT8_SCHEME = "float8"
NF4_BLOCK = 64
NF4_FACTORS = tuple(sign * factor for factor in (1.0, 0.94, 0.88, 0.82) for sign in (1, -1))
"""Scales that are tried for a block, relative to its largest magnitude: 7 % less error than the first alone."""
NF4_REACH, NF4_CELLS = 1.25, 4096
"""What a weight over the smallest of those scales reaches at most, and parts of the table that rounds it."""
NF4_AT_ONCE = 2**18
"""Blocks that are packed at a time: 64 MiB in fp32."""


@dataclass(frozen=True)
class Scheme:
    """A way to keep a weight.

    Attributes:
        name: as in `quantization.transformer`.
        bits: per weight, scales included (those of rows are not worth counting).
        pack: weight (out, in) in any float dtype -> packed tensors on the same device.
        unpack: (packed tensors, (out, in), dtype) -> dense weight.
        version: of the packing; another one makes slightly other numbers, so what was computed with it is not reused.
    """

    name: str
    bits: float
    pack: Callable[[Tensor], Packed]
    unpack: Callable[[Mapping[str, Tensor], Shape, torch.dtype], Tensor]
    version: int = 1

    @property
    def identity(self) -> str:
        """The name, with the version from the second on."""
        return self.name if self.version == 1 else f"{self.name}.{self.version}"


def _scale_of(values: Tensor, largest_code: float) -> Tensor:
    """The bf16 scale, as (..., 1), that brings the largest magnitude of the last axis to `largest_code`."""
    largest = values.abs().amax(dim=-1, keepdim=True).float()
    return (largest / largest_code).clamp_min(SMALLEST_SCALE).to(torch.bfloat16)


def pack_float8(weight: Tensor) -> Packed:
    """Per row: `codes` (out, in) float8, `scale` (out, 1) bf16."""
    limit = torch.finfo(FLOAT8).max
    scale = _scale_of(weight, limit)
    return {"codes": (weight.float() / scale.float()).clamp_(-limit, limit).to(FLOAT8), "scale": scale}


def kept_float8(codes: Tensor, scale: Tensor) -> Packed:
    """The codes (out, in) of a file as they are, with its scale (one number, or one a row) as (out, 1) bf16.

    Rounding the scale to bf16 moves a weight by at most 0.2 %; other codes would move it by up to 6 %.
    """
    rows = scale.to(codes.device).flatten().expand(len(codes)).unsqueeze(1)
    return {"codes": codes, "scale": rows.to(torch.bfloat16).contiguous()}


def unpack_float8(packed: Mapping[str, Tensor], shape: Shape, dtype: torch.dtype) -> Tensor:
    """codes * scale; every float8 number is exact in bf16 and fp32, so the product is rounded once."""
    return packed["codes"].to(dtype).mul_(packed["scale"])


def pack_int8(weight: Tensor) -> Packed:
    """Per row: `codes` (out, in) int8, `scale` (out, 1) bf16."""
    scale = _scale_of(weight, 127)
    return {"codes": (weight.float() / scale.float()).round_().clamp_(-127, 127).to(torch.int8), "scale": scale}


def unpack_int8(packed: Mapping[str, Tensor], shape: Shape, dtype: torch.dtype) -> Tensor:
    """codes * scale, in one pass."""
    return packed["codes"] * packed["scale"].to(dtype)


@lru_cache(maxsize=1)
def nf4_levels() -> tuple[float, ...]:
    """The 16 levels of NormalFloat4 in [-1, 1], ascending: -1 to 0 in 8 and 0 to 1 in 9 quantile steps.

    Source: Dettmers et al. 2023 (arXiv 2305.14314), section 3 and appendix E.
    """
    outermost = 1 - (1 / 32 + 1 / 30) / 2
    negative = -torch.special.ndtri(torch.linspace(outermost, 0.5, 8, dtype=torch.float64))
    positive = torch.special.ndtri(torch.linspace(0.5, outermost, 9, dtype=torch.float64))
    levels = torch.cat((negative[:-1], positive))
    return tuple((levels / positive[-1]).tolist())


@lru_cache(maxsize=16)
def _nf4_pairs(device: torch.device, dtype: torch.dtype) -> Tensor:
    """(256,): the two levels that a byte stands for, high half first, side by side in one integer."""
    levels = torch.tensor(nf4_levels(), dtype=dtype, device=device)
    return torch.cartesian_prod(levels, levels).view({2: torch.int32, 4: torch.int64}[dtype.itemsize]).flatten()


def pack_nf4(weight: Tensor) -> Packed:
    """Per block of 64 along the rows laid end to end: `codes` two a byte, `scale` (blocks, 1) bf16.

    A weight whose size is no multiple of 64 is filled up with zeros. Many blocks at a time, so that what is needed
    meanwhile does not grow with the weight.
    """
    flat = weight.flatten()
    blocks = F.pad(flat, (0, -len(flat) % NF4_BLOCK)).view(-1, NF4_BLOCK)
    parts = [_pack_nf4_blocks(part.float()) for part in blocks.split(NF4_AT_ONCE)]
    codes, scales = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return {"codes": codes, "scale": scales}


def _pack_nf4_blocks(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """(codes two a byte, scales) of blocks (N, 64) in fp32."""
    scale = _best_nf4_scale(blocks)
    levels = torch.tensor(nf4_levels(), device=blocks.device)
    between = (levels[1:] + levels[:-1]) / 2
    codes = torch.bucketize(blocks / scale.float(), between, out_int32=True).to(torch.uint8).view(-1, 2)
    return codes[:, 0] << 4 | codes[:, 1], scale


def _best_nf4_scale(blocks: Tensor) -> Tensor:
    """(N, 1) bf16: of several scales the one that brings a block nearest to itself.

    Few weights are near the outer levels, so a smaller scale, which clips the largest weights, often rounds the others
    better; and a negative one gives the finer half of the levels to the negative weights. The rounding is looked up in
    a table that is exact but at the edges between levels, which is enough to choose by.
    """
    largest = _scale_of(blocks, 1.0).float()
    normed = blocks / largest
    table = _nf4_table(blocks.device)
    best, scale = torch.full_like(largest, torch.inf), largest.to(torch.bfloat16)
    for factor in NF4_FACTORS:
        tried = (largest * factor).to(torch.bfloat16)
        ratio = tried.float() / largest
        cells = (normed * (len(table) / 2 / NF4_REACH / ratio)).add_(len(table) / 2).int()
        rounded = table.index_select(0, cells.flatten()).view_as(normed)
        error = rounded.mul_(ratio).sub_(normed).square_().sum(dim=1, keepdim=True)
        nearer = error < best
        best, scale = torch.where(nearer, error, best), torch.where(nearer, tried, scale)
    return scale


@lru_cache(maxsize=16)
def _nf4_table(device: torch.device) -> Tensor:
    """(cells,): the level nearest to the middle of each of many equal parts of [-NF4_REACH, NF4_REACH]."""
    levels = torch.tensor(nf4_levels(), device=device)
    middles = (torch.arange(NF4_CELLS, device=device) + 0.5) * (2 * NF4_REACH / NF4_CELLS) - NF4_REACH
    return levels[torch.bucketize(middles, (levels[1:] + levels[:-1]) / 2)]


def unpack_nf4(packed: Mapping[str, Tensor], shape: Shape, dtype: torch.dtype) -> Tensor:
    """levels[code] * scale, looked up two at a time."""
    codes = packed["codes"]
    dense = _nf4_pairs(codes.device, dtype).index_select(0, codes.int()).view(dtype)
    dense = dense.view(-1, NF4_BLOCK).mul_(packed["scale"])
    return dense.flatten()[: shape[0] * shape[1]].view(shape)


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        "float8": Scheme("float8", 8, pack_float8, unpack_float8),
        "int8": Scheme("int8", 8, pack_int8, unpack_int8),
        "nf4": Scheme("nf4", 4 + 16 / NF4_BLOCK, pack_nf4, unpack_nf4, version=2),
    }
)

"""LoKr: the change of a weight is a Kronecker product, y = W x + (alpha / rank) * (W1 (x) W2) x.

Source: Yeh et al. 2024 (arXiv 2309.14859), section 3.3. W1 is small and whole, W2 is the product of two low-rank
matrices, or whole where the rank would save nothing. W2's last factor starts at zero, so a fresh LoKr changes nothing.

Shapes: W1 (L, M), W2 (K, N) with out = L * K and in = M * N.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slipstream.adapters.branches import device_of, shape_of
from slipstream.adapters.dropout import NO_DROPOUT, Dropout


class LoKr(nn.Module):
    """A LoKr branch. `w2_a` (K, rank) and `w2_b` (rank, N) make W2; without `w2_a`, `w2_b` (K, N) is W2 itself."""

    kind = "lokr"
    zero_first: frozenset[str] = frozenset()
    scaled: str | None = "w2_b"

    def __init__(
        self, w1: Tensor, w2_a: Tensor | None, w2_b: Tensor, scale: float, *, trainable: bool,
        dropout: Dropout = NO_DROPOUT,
    ) -> None:  # fmt: skip
        super().__init__()
        self.w1 = nn.Parameter(w1, requires_grad=trainable)
        self.w2_a = None if w2_a is None else nn.Parameter(w2_a, requires_grad=trainable)
        self.w2_b = nn.Parameter(w2_b, requires_grad=trainable)
        self.scale = scale
        self.dropout = dropout
        self.strength = 1.0
        self.enabled = True
        self.eval()

    def forward(self, x: Tensor, out: Tensor, base: nn.Module) -> Tensor:
        """(..., in) -> (..., out) without ever making the product."""
        dropout = self.dropout if self.training else NO_DROPOUT
        grid = dropout.on_input(x).unflatten(-1, (self.w1.shape[1], -1))
        grid = F.linear(grid, self.w2_b.to(x.dtype))
        if self.w2_a is not None:
            grid = F.linear(grid, self.w2_a.to(x.dtype))
        return (self.w1.to(x.dtype) @ grid).flatten(-2) * (self.scale * self.strength)

    def exported(self) -> dict[str, Tensor]:
        """The factors; alpha / rank is in W2's last one."""
        last = self.w2_b.detach() * self.scale
        if self.w2_a is None:
            return {"lokr_w1": self.w1.detach(), "lokr_w2": last}
        return {"lokr_w1": self.w1.detach(), "lokr_w2_a": self.w2_a.detach(), "lokr_w2_b": last}

    @staticmethod
    def of_file(tensors: Mapping[str, Tensor]) -> LoKr:
        """A frozen branch from a file's factors."""
        last = tensors["lokr_w2"] if "lokr_w2" in tensors else tensors["lokr_w2_b"]
        return LoKr(tensors["lokr_w1"], tensors.get("lokr_w2_a"), last, 1.0, trainable=False)


def fresh_lokr(
    linear: nn.Module, rank: int, alpha: float, generator: torch.Generator, *, factor: int | None, full_rank: bool,
    dropout: Dropout,
) -> LoKr:  # fmt: skip
    """A trainable LoKr that changes nothing yet: W1 and the first factor of W2 uniform in +-1/sqrt(columns), the last
    factor zero; drawn on the CPU so every device starts alike."""
    height, width = shape_of(linear)
    (rows, inner_rows), (columns, inner_columns) = split(height, factor), split(width, factor)

    def uniform(*shape: int) -> Tensor:
        drawn = torch.rand(*shape, generator=generator, dtype=torch.float32)
        return ((drawn * 2 - 1) / math.sqrt(shape[1])).to(device_of(linear))

    w1 = uniform(rows, columns)
    whole = full_rank or rank >= max(inner_rows, inner_columns) / 2
    w2_a = None if whole else uniform(inner_rows, rank)
    w2_b = torch.zeros(inner_rows if whole else rank, inner_columns, device=device_of(linear))
    return LoKr(w1, w2_a, w2_b, alpha / rank, trainable=True, dropout=dropout)


def split(size: int, factor: int | None) -> tuple[int, int]:
    """(small, large) with small * large = size: `factor` itself where it divides `size`, else the largest divisor up
    to it; without a factor the two numbers are as near each other as can be.

    LyCORIS and PEFT split the same way, so files fit each other.
    """
    if factor is not None and size % factor == 0:
        return factor, size // factor
    limit = math.isqrt(size) if factor is None else min(factor, math.isqrt(size))
    small = next(number for number in range(limit, 0, -1) if size % number == 0)
    return small, size // small


def shape_in_file(tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """(out, in) of the linear that a file's factors are for.

    Raises:
        ValueError: the factors do not fit each other.
    """
    w1, w2_a = tensors["lokr_w1"], tensors.get("lokr_w2_a")
    last = tensors["lokr_w2"] if "lokr_w2" in tensors else tensors["lokr_w2_b"]
    first = last if w2_a is None else w2_a
    if {w1.ndim, first.ndim, last.ndim} != {2} or (w2_a is not None and w2_a.shape[1] != last.shape[0]):
        raise ValueError("the LoKr factors are not matrices that fit each other")
    return w1.shape[0] * first.shape[0], w1.shape[1] * last.shape[1]

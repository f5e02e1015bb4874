"""LoRA: y = W x + (alpha / rank) * B A x.

Source: Hu et al. 2021 (arXiv 2106.09685), equation 3. `A` (rank, in) starts random, `B` (out, rank) starts at zero,
so a fresh LoRA changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slipstream.adapters.branches import AdaptedLinear, BranchSet, device_of, shape_of
from slipstream.adapters.dropout import NO_DROPOUT, Dropout

__all__ = ["AdaptedLinear", "BranchSet", "LowRank", "fresh_pair"]


class LowRank(nn.Module):
    """A LoRA branch. Parameters stay in their own precision and are cast to the input's for the two matmuls."""

    kind = "lora"
    zero_first = frozenset({"b"})

    def __init__(self, a: Tensor, b: Tensor, alpha: float, *, trainable: bool, dropout: Dropout = NO_DROPOUT) -> None:
        super().__init__()
        self.a = nn.Parameter(a, requires_grad=trainable)
        self.b = nn.Parameter(b, requires_grad=trainable)
        self.alpha = alpha
        self.dropout = dropout
        self.strength = 1.0
        self.enabled = True
        self.eval()

    @property
    def rank(self) -> int:
        """The inner dimension."""
        return self.a.shape[0]

    @property
    def scale(self) -> float:
        """alpha / rank times the strength set for inference."""
        return self.alpha / self.rank * self.strength

    def forward(self, x: Tensor, out: Tensor, base: nn.Module) -> Tensor:
        """(..., in) -> (..., out)."""
        dropout = self.dropout if self.training else NO_DROPOUT
        hidden = dropout.on_ranks(F.linear(dropout.on_input(x), self.a.to(x.dtype)))
        return F.linear(hidden, self.b.to(x.dtype)) * self.scale

    def exported(self) -> dict[str, Tensor]:
        """A and B * alpha / rank: files carry no alpha, so no reader can get the scale wrong."""
        return {"lora_A.weight": self.a.detach(), "lora_B.weight": self.b.detach() * (self.alpha / self.rank)}

    @staticmethod
    def of_file(tensors: Mapping[str, Tensor]) -> LowRank:
        """A frozen branch from a file's A and B."""
        a, b = tensors["lora_A.weight"], tensors["lora_B.weight"]
        return LowRank(a, b, float(a.shape[0]), trainable=False)


def fresh_pair(
    linear: nn.Module, rank: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """(A uniform in +-1/sqrt(in), B zeros) on the linear's device; drawn on the CPU so every device starts alike."""
    height, width = shape_of(linear)
    bound = 1 / math.sqrt(width)
    a = (torch.rand(rank, width, generator=generator, dtype=torch.float32) * 2 - 1) * bound
    b = torch.zeros(height, rank)
    return a.to(device_of(linear), dtype), b.to(device_of(linear), dtype)


def shape_in_file(tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """(out, in) of the linear that a file's A and B are for.

    Raises:
        ValueError: they do not fit each other.
    """
    a, b = tensors["lora_A.weight"], tensors["lora_B.weight"]
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
        raise ValueError(f"{tuple(a.shape)} and {tuple(b.shape)} are not (rank, in) and (out, rank)")
    return b.shape[0], a.shape[1]

"""LoHa: the change of a weight is an elementwise product, y = W x + (alpha / rank) * ((W1a W1b) o (W2a W2b)) x.

Source: Hyeon-Woo et al. 2022 (FedPara, arXiv 2108.06098), proposition 1; the product reaches rank^2. `W2a` starts at
zero, so a fresh LoHa changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slipstream.adapters.branches import device_of, shape_of
from slipstream.adapters.dropout import NO_DROPOUT, Dropout

_NAMES = ("w1_a", "w1_b", "w2_a", "w2_b")


class _Product(torch.autograd.Function):
    """(w1_a w1_b) o (w2_a w2_b) that keeps the factors for backward, not the two large matrices."""

    @staticmethod
    def forward(ctx: Any, w1_a: Tensor, w1_b: Tensor, w2_a: Tensor, w2_b: Tensor) -> Tensor:
        ctx.save_for_backward(w1_a, w1_b, w2_a, w2_b)
        return (w1_a @ w1_b) * (w2_a @ w2_b)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        w1_a, w1_b, w2_a, w2_b = ctx.saved_tensors
        first, second = gradients[0] * (w2_a @ w2_b), gradients[0] * (w1_a @ w1_b)
        return first @ w1_b.T, w1_a.T @ first, second @ w2_b.T, w2_a.T @ second


class LoHa(nn.Module):
    """A LoHa branch: `w1_a`, `w2_a` (out, rank) and `w1_b`, `w2_b` (rank, in)."""

    kind = "loha"
    zero_first: frozenset[str] = frozenset()
    scaled: str | None = "w2_a"

    def __init__(
        self, factors: tuple[Tensor, Tensor, Tensor, Tensor], scale: float, *, trainable: bool,
        dropout: Dropout = NO_DROPOUT,
    ) -> None:  # fmt: skip
        super().__init__()
        self.w1_a, self.w1_b, self.w2_a, self.w2_b = (nn.Parameter(f, requires_grad=trainable) for f in factors)
        self.scale = scale
        self.dropout = dropout
        self.strength = 1.0
        self.enabled = True
        self.eval()

    def forward(self, x: Tensor, out: Tensor, base: nn.Module) -> Tensor:
        """(..., in) -> (..., out)."""
        dropout = self.dropout if self.training else NO_DROPOUT
        change = _Product.apply(*(getattr(self, name).float() for name in _NAMES))
        return F.linear(dropout.on_input(x), (change * (self.scale * self.strength)).to(x.dtype))

    def exported(self) -> dict[str, Tensor]:
        """The factors; alpha / rank is in `hada_w2_a`."""
        tensors = {f"hada_{name}": getattr(self, name).detach() for name in _NAMES}
        return tensors | {"hada_w2_a": tensors["hada_w2_a"] * self.scale}

    @staticmethod
    def of_file(tensors: Mapping[str, Tensor]) -> LoHa:
        """A frozen branch from a file's factors."""
        w1_a, w1_b, w2_a, w2_b = (tensors[f"hada_{name}"] for name in _NAMES)
        return LoHa((w1_a, w1_b, w2_a, w2_b), 1.0, trainable=False)


def fresh_loha(linear: nn.Module, rank: int, alpha: float, generator: torch.Generator, dropout: Dropout) -> LoHa:
    """A trainable LoHa that changes nothing yet: normal with std 0.1 (`w1_a`) and 1 (`w1_b`, `w2_b`), `w2_a` zero;
    drawn on the CPU so every device starts alike."""
    height, width = shape_of(linear)
    device = device_of(linear)
    w1_a = (torch.randn(height, rank, generator=generator) * 0.1).to(device)
    w1_b, w2_b = (torch.randn(rank, width, generator=generator).to(device) for _ in range(2))
    w2_a = torch.zeros(height, rank, device=device)
    return LoHa((w1_a, w1_b, w2_a, w2_b), alpha / rank, trainable=True, dropout=dropout)


def shape_in_file(tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """(out, in) of the linear that a file's factors are for.

    Raises:
        ValueError: the factors do not fit each other.
    """
    w1_a, w1_b, w2_a, w2_b = (tensors[f"hada_{name}"] for name in _NAMES)
    matrices = {factor.ndim for factor in (w1_a, w1_b, w2_a, w2_b)} == {2}
    if not matrices or w1_a.shape[1] != w1_b.shape[0] or w2_a.shape[1] != w2_b.shape[0]:
        raise ValueError("the LoHa factors are not matrices that fit each other")
    if (w1_a.shape[0], w1_b.shape[1]) != (w2_a.shape[0], w2_b.shape[1]):
        raise ValueError("the two LoHa products have different shapes")
    return w1_a.shape[0], w1_b.shape[1]

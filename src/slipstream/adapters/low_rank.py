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

from slipstream.adapters.branches import device_of, shape_of, weight_of
from slipstream.adapters.dropout import NO_DROPOUT, Dropout

_OVERSAMPLED, _ITERATIONS = 8, 8


class LowRank(nn.Module):
    """A LoRA branch. Parameters stay in their own precision and are cast to the input's for the two matmuls."""

    kind = "lora"
    zero_first = frozenset({"b"})
    scaled: str | None = "b"
    a0: Tensor
    b0: Tensor

    def __init__(
        self, a: Tensor, b: Tensor, alpha: float, *, trainable: bool, dropout: Dropout = NO_DROPOUT,
        minus_start: bool = False,
    ) -> None:  # fmt: skip
        """With `minus_start` the branch adds B A - B0 A0, the change since this A and B: it starts at nothing."""
        super().__init__()
        self.a = nn.Parameter(a, requires_grad=trainable)
        self.b = nn.Parameter(b, requires_grad=trainable)
        self.alpha = alpha
        self.dropout = dropout
        self.strength = 1.0
        self.enabled = True
        if minus_start:
            self.register_buffer("a0", a.detach().clone())
            self.register_buffer("b0", b.detach().clone())
        self.minus_start = minus_start
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
        a, b = self.a.to(x.dtype), self.b.to(x.dtype)
        if not self.minus_start:
            return F.linear(dropout.on_ranks(F.linear(dropout.on_input(x), a)), b) * self.scale
        seen = dropout.on_input(x)
        both = torch.stack((F.linear(seen, a), F.linear(seen, self.a0.to(x.dtype))), dim=-2)
        now, start = dropout.on_ranks(both).unbind(-2)  # one mask for both
        return (F.linear(now, b) - F.linear(start, self.b0.to(x.dtype))) * self.scale

    def exported(self) -> dict[str, Tensor]:
        """A and B * alpha / rank: files carry no alpha, so no reader can get the scale wrong.

        With `minus_start` they have twice the rank: [A; A0] and [B, -B0].
        """
        a, b = self.a.detach(), self.b.detach()
        if self.minus_start:
            a, b = torch.cat((a, self.a0)), torch.cat((b, -self.b0), dim=1)
        return {"lora_A.weight": a, "lora_B.weight": b * (self.alpha / self.rank)}

    @staticmethod
    def of_file(tensors: Mapping[str, Tensor]) -> LowRank:
        """A frozen branch from a file's A and B."""
        a, b = tensors["lora_A.weight"], tensors["lora_B.weight"]
        return LowRank(a, b, float(a.shape[0]), trainable=False)


def fresh_pair(
    linear: nn.Module, rank: int, generator: torch.Generator, dtype: torch.dtype = torch.float32, *,
    orthogonal: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(A uniform in +-1/sqrt(in), B zeros) on the linear's device; drawn on the CPU so every device starts alike.

    With `orthogonal` A's rows are at right angles to each other, as long as the uniform ones are on average.
    """
    height, width = shape_of(linear)
    if orthogonal:
        a = torch.empty(rank, width)
        nn.init.orthogonal_(a, gain=1 / math.sqrt(3), generator=generator)
    else:
        bound = 1 / math.sqrt(width)
        a = (torch.rand(rank, width, generator=generator, dtype=torch.float32) * 2 - 1) * bound
    b = torch.zeros(height, rank)
    return a.to(device_of(linear), dtype), b.to(device_of(linear), dtype)


def principal_pair(linear: nn.Module, rank: int, scale: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(A, B) with scale * B A = the part of the weight with the `rank` largest singular values, halved between them.

    Source: Meng et al. 2024 (PiSSA, arXiv 2404.02948), equations 2 and 3; the singular vectors by subspace iteration
    (Halko et al. 2011, arXiv 0909.4061, algorithm 4.4).
    """
    weight = weight_of(linear).float()
    columns = min(rank + _OVERSAMPLED, *weight.shape)
    basis = torch.randn(weight.shape[1], columns, generator=generator).to(weight.device)
    basis = torch.linalg.qr(weight @ basis)[0]
    for _ in range(_ITERATIONS):
        basis = torch.linalg.qr(weight @ torch.linalg.qr(weight.T @ basis)[0])[0]
    left, values, right = torch.linalg.svd(basis.T @ weight, full_matrices=False)
    root = values[:rank].sqrt()
    return root[:, None] * right[:rank], (basis @ left[:, :rank]) * root / scale


def shape_in_file(tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """(out, in) of the linear that a file's A and B are for.

    Raises:
        ValueError: they do not fit each other.
    """
    a, b = tensors["lora_A.weight"], tensors["lora_B.weight"]
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
        raise ValueError(f"{tuple(a.shape)} and {tuple(b.shape)} are not (rank, in) and (out, rank)")
    return b.shape[0], a.shape[1]

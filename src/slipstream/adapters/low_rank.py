"""Low-rank branches beside frozen linears: y = W x + sum over enabled branches of (alpha / rank) * B A x.

Source: Hu et al. 2021 (arXiv 2106.09685), equation 3. `A` (rank, in) starts random, `B` (out, rank) starts at zero,
so a fresh LoRA changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LowRank(nn.Module):
    """One branch. Parameters stay in their own precision and are cast to the input's for the two matmuls."""

    def __init__(self, a: Tensor, b: Tensor, alpha: float, *, trainable: bool) -> None:
        super().__init__()
        self.a = nn.Parameter(a, requires_grad=trainable)
        self.b = nn.Parameter(b, requires_grad=trainable)
        self.alpha = alpha
        self.strength = 1.0
        self.enabled = True

    @property
    def rank(self) -> int:
        """The inner dimension."""
        return self.a.shape[0]

    @property
    def scale(self) -> float:
        """alpha / rank times the strength set for inference."""
        return self.alpha / self.rank * self.strength

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return F.linear(F.linear(x, self.a.to(x.dtype)), self.b.to(x.dtype)) * self.scale


class AdaptedLinear(nn.Module):
    """A frozen linear with any number of low-rank branches; a disabled branch costs nothing and changes no bit."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.branches = nn.ModuleDict()

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        out = self.base(x)
        for branch in self.branches.values():
            if branch.enabled:
                out = out + branch(x)
        return out


@dataclass(frozen=True)
class BranchSet:
    """The branches of one adapter across a model, by the module name each sits beside."""

    role: str
    branches: dict[str, LowRank]

    def parameters(self) -> list[nn.Parameter]:
        """All A and B in a stable order (sorted by module name, A before B)."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """(`<module>.a` or `<module>.b`, parameter) in a stable order."""
        pairs: list[tuple[str, nn.Parameter]] = []
        for name in sorted(self.branches):
            pairs += [(f"{name}.a", self.branches[name].a), (f"{name}.b", self.branches[name].b)]
        return pairs

    def enable(self, on: bool) -> None:
        """Switch every branch on or off."""
        for branch in self.branches.values():
            branch.enabled = on

    def set_strength(self, strength: float) -> None:
        """Scale the adapter's effect (the LoRA weight of inference tools)."""
        for branch in self.branches.values():
            branch.strength = strength

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """The model without this adapter, for the length of a block."""
        before = {name: branch.enabled for name, branch in self.branches.items()}
        self.enable(False)
        try:
            yield
        finally:
            for name, branch in self.branches.items():
                branch.enabled = before[name]

    @contextmanager
    def rounded_to(self, dtype: torch.dtype) -> Iterator[None]:
        """The adapter as a file of this dtype will hold it, so that a preview shows what the user will get."""
        originals = [parameter.data for parameter in self.parameters()]
        try:
            for branch in self.branches.values():
                a, b = exported_pair(branch)
                branch.a.data = a.to(dtype).to(branch.a.dtype)
                branch.b.data = b.to(dtype).to(branch.b.dtype) / (branch.alpha / branch.rank)
            yield
        finally:
            for parameter, original in zip(self.parameters(), originals, strict=True):
                parameter.data = original


def exported_pair(branch: LowRank) -> tuple[Tensor, Tensor]:
    """(A, B * alpha / rank): files carry no alpha, so no reader can get the scale wrong."""
    return branch.a.detach(), branch.b.detach() * (branch.alpha / branch.rank)


def fresh_pair(
    linear: nn.Linear, rank: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """(A uniform in +-1/sqrt(in), B zeros) on the linear's device; drawn on the CPU so every device starts alike."""
    bound = 1 / math.sqrt(linear.in_features)
    a = (torch.rand(rank, linear.in_features, generator=generator, dtype=torch.float32) * 2 - 1) * bound
    b = torch.zeros(linear.out_features, rank)
    return a.to(linear.weight.device, dtype), b.to(linear.weight.device, dtype)

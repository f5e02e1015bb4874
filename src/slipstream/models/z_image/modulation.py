"""What scales and gates of all main blocks are made of, from the timestep at once, instead of a small linear per block.

Shape legend: M blocks, B batch, D width, T width of the timestep's embedding, P rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from slipstream.kernels.copies import Copy
from slipstream.models.z_image.fused_linear import Beside, LowRankBranch

ADALN = "adaLN_modulation.0"
"""Name of the linear inside a block."""


class FusedModulation:
    """The adaLN linears of blocks, whose weights become views of one tensor, with at most one branch each.

    Args:
        linears: with bias, one a block.
        beside: their branches by role; the same role in every block, or none in any.
    """

    def __init__(self, linears: Sequence[nn.Linear], beside: Sequence[Beside]) -> None:
        self._weights = torch.stack([linear.weight.detach() for linear in linears])
        self._biases = torch.stack([linear.bias.detach() for linear in linears])
        for linear, weight in zip(linears, self._weights, strict=True):
            linear.weight = nn.Parameter(weight, requires_grad=False)
        self._beside = list(beside)
        self._role = next(iter(beside[0]), None)
        if self._role is not None:
            first = beside[0][self._role]
            self._down = self._weights.new_zeros(len(linears), *first.a.shape)
            self._up = self._weights.new_zeros(len(linears), *first.b.shape)

    @staticmethod
    def fits(beside: Sequence[Beside]) -> bool:
        """Whether all blocks have the same branch, one at most."""
        shapes = [[(role, branch.a.shape, branch.a.requires_grad) for role, branch in own.items()] for own in beside]
        return len(shapes[0]) <= 1 and all(a == b for a, b in pairwise(shapes))

    @property
    def factor(self) -> float:
        """Scale or 0 of the branches."""
        return next((branch.scale if branch.enabled else 0.0 for branch in self.branches), 0.0)

    @property
    def branches(self) -> list[LowRankBranch]:
        """The branches as they are now, one a block, or none."""
        return [] if self._role is None else [own[self._role] for own in self._beside]

    def copies(self) -> list[Copy]:
        """What brings the stacked branches up to date."""
        found = []
        for branch, down, up in zip(self.branches, self._down, self._up, strict=True) if self._role else ():
            found += [Copy(branch.a, down, 1.0), Copy(branch.b, up, self.factor)]
        return found

    def __call__(self, time_BT: Tensor) -> Tensor:
        """(M, B, 4 D) with the branches' gradients where they are trained and gradients are on."""
        rows = torch.baddbmm(self._biases[:, None], time_BT.expand(len(self._weights), -1, -1), self._weights.mT)
        branches = self.branches
        if branches:
            down, up, factor = self._down, self._up, 1.0
            if torch.is_grad_enabled() and branches[0].a.requires_grad:
                down = torch.stack([branch.a for branch in branches]).type_as(rows)
                up = torch.stack([branch.b for branch in branches]).type_as(rows)
                factor = self.factor
            rows = torch.baddbmm(rows, time_BT @ down.mT, up.mT, alpha=factor)
        return rows


class ModulationByModule:
    """The same by calling each block's own linear, whatever is beside it."""

    def __init__(self, blocks: Sequence[Any]) -> None:
        self._blocks = list(blocks)

    @property
    def factor(self) -> float:
        """Not known: the blocks know."""
        return float("nan")

    def copies(self) -> list[Copy]:
        """Nothing is kept twice."""
        return []

    def __call__(self, time_BT: Tensor) -> Tensor:
        """(M, B, 4 D)."""
        return torch.stack([block.adaLN_modulation(time_BT) for block in self._blocks])


def modulation_of(
    blocks: Sequence[Any], beside: Sequence[Mapping[str, Beside]]
) -> FusedModulation | ModulationByModule:
    """The blocks' modulation at once where they are alike, else block by block."""
    own = [branches.get(ADALN, {}) for branches in beside]
    if not FusedModulation.fits(own):
        return ModulationByModule(blocks)
    linears = [block.adaLN_modulation[0] for block in blocks]
    return FusedModulation([getattr(linear, "base", linear) for linear in linears], own)

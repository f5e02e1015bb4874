"""Dropout of branches while training. It draws from torch's global generator, which the step seeds for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Dropout:
    """Shares that are dropped in training mode.

    Attributes:
        inputs: of the branch's input values; the others are divided by 1 - share.
        ranks: of the ranks, anew for every sample; the others are divided by 1 - share.
        modules: of the branches as wholes; the others stay as they are.
    """

    inputs: float = 0.0
    ranks: float = 0.0
    modules: float = 0.0

    def on_input(self, x: Tensor) -> Tensor:
        """The branch's input with some values at zero."""
        return F.dropout(x, self.inputs) if self.inputs else x

    def on_ranks(self, hidden: Tensor) -> Tensor:
        """(batch, ..., rank) with some ranks of every sample at zero."""
        if not self.ranks:
            return hidden
        middle = [1] * (hidden.ndim - 2)
        keep = torch.rand(hidden.shape[0], *middle, hidden.shape[-1], device=hidden.device) >= self.ranks
        return hidden * keep / (1 - self.ranks)

    def draw_module(self) -> float:
        """The factor of a whole branch: 0.0 or 1.0 (zero keeps the graph, so every parameter gets a gradient)."""
        return float(torch.rand(()) >= self.modules)


NO_DROPOUT = Dropout()

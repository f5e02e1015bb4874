"""Frozen branches added into the weights beside them, and taken out again bit for bit.

A live branch costs its own matrix products in every pass; folded it costs nothing. The sum is rounded once to the
weight's precision. The weights without it are kept, on the device or in host memory, and come back exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from slipstream.adapters.branches import AdaptedLinear, BranchSet
from slipstream.adapters.low_rank import LowRank


def can_be_folded(branches: BranchSet) -> bool:
    """Whether all branches are plain, frozen LoRAs beside dense weights."""
    return all(
        isinstance(branch, LowRank)
        and not branch.minus_start
        and not branch.a.requires_grad
        and isinstance(branches.hosts[name].base, nn.Linear)
        for name, branch in branches.branches.items()
    )


def folded_bytes(branches: BranchSet) -> int:
    """Bytes of the weights that folding keeps aside."""
    return sum(_weight(branches.hosts[name]).nbytes for name in branches.branches)


class FoldedBranches:
    """Branches that live in the weights from now on.

    Args:
        branches: of one role; see `can_be_folded`.
        keep_on: where the weights without them are kept; on the CPU they are pinned where CUDA is there.
    """

    def __init__(self, branches: BranchSet, keep_on: torch.device) -> None:
        self._branches = branches
        self._originals = {name: _kept(_weight(branches.hosts[name]), keep_on) for name in branches.branches}
        for host in branches.hosts.values():
            host.folded.add(branches.role)
        self._fold()

    @contextmanager
    def taken_out(self) -> Iterator[None]:
        """The weights without the branches, bit for bit, for the length of a block."""
        for name, original in self._originals.items():
            _weight(self._branches.hosts[name]).copy_(original, non_blocking=True)
        try:
            yield
        finally:
            self._fold()

    @torch.no_grad()
    def _fold(self) -> None:
        for name, branch in self._branches.branches.items():
            own, weight = cast(LowRank, branch), _weight(self._branches.hosts[name])
            original = self._originals[name].to(weight.device, torch.float32, non_blocking=True)
            weight.copy_(torch.addmm(original, own.b.float(), own.a.float(), alpha=own.scale))


def _weight(host: AdaptedLinear) -> Tensor:
    return cast(nn.Linear, host.base).weight.detach()


def _kept(weight: Tensor, device: torch.device) -> Tensor:
    kept = torch.empty(weight.shape, dtype=weight.dtype, device=device, pin_memory=_pins(weight, device))
    return kept.copy_(weight)


def _pins(weight: Tensor, device: torch.device) -> bool:
    return device.type == "cpu" and weight.device.type == "cuda"

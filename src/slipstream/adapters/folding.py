"""Frozen branches added into the weights beside them, and taken out again bit for bit.

A live branch costs its own matrix products in every pass; folded it costs nothing. The sum is rounded once to the
weight's precision. The weights without it are kept, on the device or in host memory, and come back exactly.

Weights that stream from host memory (`memory.streaming`) have both sides there: they are exchanged, nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from slipstream.adapters.branches import AdaptedLinear, BranchSet
from slipstream.adapters.low_rank import LowRank
from slipstream.memory.pinned import HostArena, Offload
from slipstream.precision.linear import QuantizedLinear
from slipstream.precision.schemes import SCHEMES, Packed


class Folded(Protocol):
    """Branches that are in the weights."""

    def taken_out(self) -> AbstractContextManager[None]:
        """The weights without the branches, bit for bit, for the length of a block."""


def dense_hosts(branches: BranchSet) -> list[str]:
    """Names of the modules whose branch is a plain, frozen LoRA beside a dense weight."""
    return [
        name
        for name, branch in branches.branches.items()
        if is_plain(branch) and isinstance(branches.hosts[name].base, nn.Linear)
    ]


def is_plain(branch: object) -> bool:
    """Whether a branch is a frozen b a x and nothing more."""
    return isinstance(branch, LowRank) and not branch.minus_start and not branch.a.requires_grad


def folded_bytes(branches: BranchSet, names: Sequence[str]) -> int:
    """Bytes of the weights that folding keeps aside."""
    return sum(_weight(branches.hosts[name]).nbytes for name in names)


class FoldedBranches:
    """Branches that live in dense weights from now on.

    Args:
        branches: of one role.
        names: which of them; see `dense_hosts`.
        keep_on: where the weights without them are kept; on the CPU they are pinned where CUDA is there.
        offload: the weights among them that stay in host memory.
    """

    def __init__(
        self, branches: BranchSet, names: Sequence[str], keep_on: torch.device, offload: Offload | None = None
    ) -> None:
        self._branches = branches
        far = [name for name in names if offload is not None and offload.chosen(name)]
        near = [name for name in names if name not in far]
        aside = aside_on(keep_on)
        self._originals = {name: aside(_weight(branches.hosts[name])) for name in near}
        for name in names:
            branches.hosts[name].folded.add(branches.role)
        self._fold()
        self._sides: dict[str, tuple[nn.Parameter, nn.Parameter]] = {}
        for name in far:
            assert offload is not None
            original, own = _linear(branches.hosts[name]).weight, cast(LowRank, branches.branches[name])
            assert isinstance(original, nn.Parameter)
            folded = nn.Parameter(offload.arena.hold(_sum(original.detach(), own)), requires_grad=False)
            self._sides[name] = original, folded
        self._show(folded=True)

    @contextmanager
    def taken_out(self) -> Iterator[None]:
        """See `Folded`."""
        try:
            self._show(folded=False)
            for name, original in self._originals.items():
                _weight(self._branches.hosts[name]).copy_(original, non_blocking=True)
            yield
        finally:
            self._show(folded=True)
            self._fold()

    def _fold(self) -> None:
        for name, kept in self._originals.items():
            own, weight = cast(LowRank, self._branches.branches[name]), _weight(self._branches.hosts[name])
            weight.copy_(_sum(kept, own))

    def _show(self, *, folded: bool) -> None:
        """The side from which weights stream."""
        for name, sides in self._sides.items():
            _linear(self._branches.hosts[name]).weight = sides[folded]


class FoldedPacks:
    """Sums of weights and LoRAs that are packed once, before the weights without the LoRAs are.

    Added to weights that are packed already, a LoRA would be lost: most of its changes are smaller than half a step of
    the codes. Rounded together with the bf16 weight it survives on average.

    Args:
        weights: A and B by module, as `files.LoraFile.modules` has them; others than plain LoRAs are not seen.
        scheme: of the model that is being loaded.
        keep_on: where the packs wait, and later those that they replace.
        offload: the weights among them whose codes stay in host memory.
    """

    def __init__(
        self, weights: Mapping[str, Mapping[str, Tensor]], scheme: str, keep_on: torch.device,
        offload: Offload | None = None,
    ) -> None:  # fmt: skip
        self._weights, self._scheme, self._offload = weights, SCHEMES[scheme], offload
        self._aside = aside_on(keep_on)
        self._packs: dict[str, Packed] = {}
        self._asides: list[_Aside] = []

    def watch(self, name: str, weight: Tensor) -> None:
        """See a dense weight, and pack its sum with the LoRA of its name; for `Placement.watch`."""
        tensors = self._weights.get(name)
        if tensors is not None and tensors.keys() == {"lora_A.weight", "lora_B.weight"}:
            a, b = (tensors[f"lora_{key}.weight"].to(weight.device, torch.float32) for key in "AB")
            packed = self._scheme.pack(torch.addmm(weight.float(), b, a))
            far = self._offload is not None and self._offload.chosen(name)
            aside = self._offload.arena.hold if far and self._offload is not None else self._aside
            self._packs[name] = {key: aside(tensor) for key, tensor in packed.items()}

    @property
    def num_bytes(self) -> int:
        """Bytes of all packs."""
        return sum(tensor.nbytes for packed in self._packs.values() for tensor in packed.values())

    def fits(self, branches: BranchSet) -> bool:
        """Whether every packed weight beside these branches was seen."""
        packed = [name for name, host in branches.hosts.items() if isinstance(host.base, QuantizedLinear)]
        return bool(packed) and all(name in self._packs for name in packed)

    def fold_into(self, branches: BranchSet) -> None:
        """Put the packs in the place of the weights beside these branches."""
        for name, packed in self._packs.items():
            host = branches.hosts[name]
            linear = cast(QuantizedLinear, host.base)
            self._asides += [_Aside(linear, key, tensor, holds_sum=True) for key, tensor in packed.items()]
            host.folded.add(branches.role)
        self._bring(sums=True)

    @contextmanager
    def taken_out(self) -> Iterator[None]:
        """See `Folded`."""
        try:
            self._bring(sums=False)
            yield
        finally:
            self._bring(sums=True)

    def _bring(self, *, sums: bool) -> None:
        """Have the sums, or the weights alone, in the linears; where that broke off before, it goes on."""
        for aside in self._asides:
            if aside.holds_sum == sums:
                aside.swap()


@dataclass
class _Aside:
    """A tensor of a linear's pack that waits beside it, the sum or the weight alone."""

    linear: QuantizedLinear
    key: str
    waiting: Tensor
    holds_sum: bool

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange what waits and what is in the linear: both, or, out of memory, neither."""
        present: Tensor = getattr(self.linear, self.key)
        if self.key == "codes" and hasattr(self.linear, "computes_on"):  # streams from where it is told to
            setattr(self.linear, self.key, self.waiting)
            self.waiting = present
        else:
            now = present.to(self.waiting.dtype, copy=True)
            coming = self.waiting.to(present.device, present.dtype)
            present.copy_(coming)
            self.waiting.copy_(now)
        self.holds_sum = not self.holds_sum


def _linear(host: AdaptedLinear) -> nn.Linear:
    return cast(nn.Linear, host.base)


def _weight(host: AdaptedLinear) -> Tensor:
    return _linear(host).weight.detach()


@torch.no_grad()
def _sum(weight: Tensor, own: LowRank) -> Tensor:
    """Weight and LoRA in the weight's precision, where the LoRA lies."""
    original = weight.to(own.a.device, torch.float32, non_blocking=True)
    return torch.addmm(original, own.b.float(), own.a.float(), alpha=own.scale).to(weight.dtype)


def aside_on(device: torch.device) -> Callable[[Tensor], Tensor]:
    """What copies a tensor to where it waits: page-locked host memory where it comes from a GPU to the CPU."""
    arenas: dict[bool, HostArena] = {}

    def aside(tensor: Tensor) -> Tensor:
        if device.type != "cpu":
            return tensor.detach().to(device, copy=True)
        pins = tensor.device.type == "cuda"
        return arenas.setdefault(pins, HostArena(pinned=pins)).hold(tensor)

    return aside

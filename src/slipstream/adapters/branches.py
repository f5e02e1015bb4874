"""Branches beside frozen linears: y = W x + b + what every enabled branch adds.

A branch of any kind (LoRA, LoKr, ...) is a small module that follows `Branch`. It sees the input, the linear's output
and the linear itself, and changes none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from slipstream.adapters.dropout import Dropout

PRECISE = frozenset({"dora_scale"})
"""Tensors that files keep in fp32 whatever their dtype: a magnitude of 1 +- 0.01 does not survive bf16."""


class Branch(Protocol):
    """What one adapter adds beside one linear.

    Attributes:
        kind: `lora`, `lokr`, `loha`, `dora` or `oft`.
        zero_first: names of the parameters that start at zero, whose rate LoRA+ raises.
        scaled: the parameter that `exported` multiplies with `scale`.
        dropout: what is dropped in training mode.
        strength: the LoRA weight of inference tools.
    """

    kind: str
    zero_first: frozenset[str]
    scaled: str | None
    dropout: Dropout
    enabled: bool
    strength: float
    training: bool

    def __call__(self, x: Tensor, out: Tensor, base: nn.Module) -> Tensor:
        """The addition (..., out) for the input x (..., in) and the linear's output `out`."""

    @property
    def scale(self) -> float:
        """alpha / rank."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters in a stable order."""

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """What belongs to the branch and is not trained."""

    def train(self, mode: bool = True) -> object:
        """Switch training mode, in which dropout acts."""

    def exported(self) -> dict[str, Tensor]:
        """Tensors by the end of their key in a file, with alpha put in."""

    def of_file(self, tensors: Mapping[str, Tensor]) -> Branch:
        """A frozen branch of this kind from `exported` tensors."""


class AdaptedLinear(nn.Module):
    """A frozen linear with any number of branches; a disabled branch costs nothing and changes no bit.

    `folded` names the roles whose branches are in the weight itself (see `folding`).
    """

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.branches = nn.ModuleDict()
        self.folded: set[str] = set()

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        out = self.base(x)
        total = out
        for role, module in self.branches.items():
            branch = cast(Branch, module)
            if not branch.enabled or role in self.folded:
                continue
            addition = branch(x, out, self.base)
            if branch.training and branch.dropout.modules:
                addition = addition * branch.dropout.draw_module()
            total = total + addition
        return total


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate: the step's rate times `lr_factor`."""

    name: str
    parameters: tuple[nn.Parameter, ...]
    lr_factor: float


def _always_one(module: str) -> float:
    return 1.0


@dataclass(frozen=True)
class BranchSet:
    """The branches of one adapter across a model, by the module name each sits beside."""

    role: str
    branches: dict[str, Branch]
    hosts: Mapping[str, AdaptedLinear]

    def parameters(self) -> list[nn.Parameter]:
        """All parameters in a stable order (sorted by module name; A before B)."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """(`<module>.a`, parameter) and so on, in a stable order."""
        return [
            (f"{name}.{key}", parameter)
            for name in sorted(self.branches)
            for key, parameter in self.branches[name].named_parameters()
        ]

    def named_tensors(self) -> list[tuple[str, Tensor]]:
        """Parameters and what else a resumed training needs, in a stable order."""
        frozen = [
            (f"{name}.{key}", buffer)
            for name in sorted(self.branches)
            for key, buffer in self.branches[name].named_buffers()
        ]
        return [*((name, parameter.detach()) for name, parameter in self.named_parameters()), *frozen]

    def parameter_groups(
        self, factor_of: Callable[[str], float] = _always_one, *, lora_plus_ratio: float | None = None
    ) -> list[ParameterGroup]:
        """Parameters by learning-rate factor, in the order of `parameters()`; one group where all are alike.

        Args:
            factor_of: module name (`layers.0.attention.to_q`) -> factor.
            lora_plus_ratio: factor of the matrices that start at zero (B) on top (Hayou et al. 2024, arXiv 2402.12354).
        """
        members: dict[float, list[nn.Parameter]] = {}
        for name in sorted(self.branches):
            branch = self.branches[name]
            for key, parameter in branch.named_parameters():
                plus = lora_plus_ratio if lora_plus_ratio is not None and key in branch.zero_first else 1.0
                members.setdefault(factor_of(name) * plus, []).append(parameter)
        return [ParameterGroup(f"lr x {factor:g}", tuple(group), factor) for factor, group in members.items()]

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
    def learning(self) -> Iterator[None]:
        """Training mode for the length of a block: only here does dropout act."""
        for branch in self.branches.values():
            branch.train(True)
        try:
            yield
        finally:
            for branch in self.branches.values():
                branch.train(False)

    @contextmanager
    def rounded_to(self, dtype: torch.dtype) -> Iterator[None]:
        """The adapter as a file of this dtype will hold it, so that a preview shows what the user will get."""
        originals = dict(self.branches)
        try:
            for name, branch in originals.items():
                self._replace(name, _as_in_file(branch, dtype))
            yield
        finally:
            for name, branch in originals.items():
                self._replace(name, branch)

    def _replace(self, name: str, branch: Branch) -> None:
        self.branches[name] = branch
        self.hosts[name].branches[self.role] = cast(nn.Module, branch)


def stored(branch: Branch, dtype: torch.dtype) -> dict[str, Tensor]:
    """What a file of this dtype holds of a branch."""
    return {key: tensor if key in PRECISE else in_range(tensor, dtype) for key, tensor in branch.exported().items()}


def in_range(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor in another dtype, values beyond its range cut off at its largest: an infinite weight ruins all."""
    largest = torch.finfo(dtype).max
    return (tensor if largest > torch.finfo(torch.float16).max else tensor.clamp(-largest, largest)).to(dtype)


def beyond_range(branches: BranchSet, dtype: torch.dtype) -> list[str]:
    """Modules with values that a file of this dtype cannot hold."""
    if torch.finfo(dtype).max > torch.finfo(torch.float16).max:
        return []
    return [
        name
        for name, branch in sorted(branches.branches.items())
        if any(tensor.abs().max() > torch.finfo(dtype).max for tensor in branch.exported().values())
    ]


def _as_in_file(branch: Branch, dtype: torch.dtype) -> Branch:
    like = next(branch.named_parameters())[1]
    rounded = branch.of_file({key: tensor.to(like) for key, tensor in stored(branch, dtype).items()})
    rounded.enabled, rounded.strength = branch.enabled, branch.strength
    return rounded


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer, a quantized one too."""
    return hasattr(module, "in_features") and hasattr(module, "out_features")


def weight_of(linear: nn.Module) -> Tensor:
    """The dense weight (out, in) of a linear, without a gradient; a quantized one is unpacked for it."""
    dense = getattr(linear, "dense_weight", None)
    weight: Tensor = linear.weight if dense is None else dense()  # type: ignore[assignment]
    return weight.detach()


def shape_of(linear: nn.Module) -> tuple[int, int]:
    """(out, in) of a linear."""
    return int(cast(int, linear.out_features)), int(cast(int, linear.in_features))


def device_of(linear: nn.Module) -> torch.device:
    """Where a linear computes: where its weight lies, or where it says that it visits."""
    visited = getattr(linear, "computes_on", None)
    if isinstance(visited, torch.device):
        return visited
    return next(chain(linear.parameters(), linear.buffers())).device


def dtype_of(linear: nn.Module) -> torch.dtype:
    """The precision a linear computes in; a quantized one names it."""
    own = getattr(linear, "dtype", None)
    return own if isinstance(own, torch.dtype) else weight_of(linear).dtype

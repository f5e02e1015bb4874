"""Choosing linears of a model and putting low-rank branches beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from slipstream.adapters.branches import AdaptedLinear, Branch, BranchSet, is_linear, shape_of, weight_of
from slipstream.adapters.dropout import NO_DROPOUT, Dropout
from slipstream.adapters.low_rank import LowRank, fresh_pair
from slipstream.adapters.patterns import Selection, select
from slipstream.core.errors import AdapterError


def linears_of(model: nn.Module) -> dict[str, nn.Module]:
    """Every linear of the model by name, quantized ones too; one already adapted counts under its own name."""
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if isinstance(module, AdaptedLinear):
            found[name] = module.base
        elif is_linear(module) and not name.endswith(".base"):
            found[name] = module
    return found


def select_targets(
    model: nn.Module,
    parts: str | tuple[str, ...],
    targets: Iterable[str],
    *,
    exclude: Iterable[str] = (),
    blocks: frozenset[int] | None = None,
) -> list[str]:
    """Names of the linears in the blocks of `parts` (such as `layers`) that the patterns mean.

    Raises:
        AdapterError: a pattern matches nothing; the message names near ones.
    """
    chosen = (parts,) if isinstance(parts, str) else parts
    return select(list(linears_of(model)), Selection(chosen, tuple(targets), tuple(exclude), blocks))


def attach(model: nn.Module, name: str, role: str, branch: Branch) -> AdaptedLinear:
    """Put a branch beside the linear `name`, wrapping it on first use; returns the wrapped linear."""
    parent_name, _, child = name.rpartition(".")
    parent = model.get_submodule(parent_name)
    module = parent.get_submodule(child)
    if not isinstance(module, AdaptedLinear):
        if not is_linear(module):
            raise AdapterError(f"{name} is a {type(module).__name__}, not a linear layer")
        module = AdaptedLinear(module)
        setattr(parent, child, module)
    if role in module.branches:
        raise AdapterError(f"{name} already has a {role!r} branch", fix="attach one adapter of a kind at a time.")
    module.branches[role] = cast(nn.Module, branch)
    return module


def attach_all(model: nn.Module, role: str, branches: Mapping[str, Branch]) -> BranchSet:
    """Put one adapter's branches beside the model's linears."""
    hosts = {name: attach(model, name, role, branch) for name, branch in branches.items()}
    return BranchSet(role, dict(branches), hosts)


def inject_lora(
    model: nn.Module, names: Iterable[str], *, rank: int, alpha: float, seed: int, role: str = "lora",
    dropout: Dropout = NO_DROPOUT,
) -> BranchSet:  # fmt: skip
    """A fresh trainable LoRA beside the named linears; with the same seed the same start on every device."""
    generator = torch.Generator().manual_seed(seed)
    linears = linears_of(model)
    branches: dict[str, Branch] = {}
    for name in sorted(names):
        a, b = fresh_pair(linears[name], rank, generator)
        branches[name] = LowRank(a, b, alpha, trainable=True, dropout=dropout)
    return attach_all(model, role, branches)


def inject_weights(
    model: nn.Module,
    weights: Mapping[str, tuple[Tensor, Tensor]],
    *,
    role: str,
    source: str,
    dtype: torch.dtype | None = None,
) -> tuple[BranchSet, str]:
    """A frozen adapter from file weights {module name: (A, B)}; returns it with its "N of N modules matched" line.

    Raises:
        AdapterError: a module is missing in the model or has another shape; nothing is attached then.
    """
    linears = linears_of(model)
    problems = [problem for name, pair in weights.items() if (problem := _mismatch(name, pair, linears))]
    matched = len(weights) - len(problems)
    line = f"{matched} of {len(weights)} modules matched"
    if problems or not weights:
        raise AdapterError(
            f"adapter does not fit this model: {line}; {'; '.join(problems[:3])}" + ("; ..." if problems[3:] else ""),
            where=source,
            fix="use an adapter made for this base model (Z-Image keys look like "
            "`diffusion_model.layers.0.attention.to_q.lora_A.weight`).",
        )
    branches: dict[str, Branch] = {}
    for name, (a, b) in weights.items():
        weight = weight_of(linears[name])
        a, b = (tensor.to(weight.device, dtype or weight.dtype) for tensor in (a, b))
        branches[name] = LowRank(a, b, float(a.shape[0]), trainable=False)
    return attach_all(model, role, branches), line


def _mismatch(name: str, pair: tuple[Tensor, Tensor], linears: Mapping[str, nn.Module]) -> str | None:
    """What is wrong with one module of a file, or None."""
    if name not in linears:
        return f"the model has no linear {name!r}"
    a, b = pair
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
        return f"{name}: {tuple(a.shape)} and {tuple(b.shape)} are not (rank, in) and (out, rank)"
    expected = shape_of(linears[name])
    got = (b.shape[0], a.shape[1])
    if got != expected:
        return f"{name}: the file is for a {got[0]}x{got[1]} layer, the model has {expected[0]}x{expected[1]}"
    return None

"""Choosing linears of a model and putting branches beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from slipstream.adapters.branches import PRECISE, AdaptedLinear, Branch, BranchSet, device_of, dtype_of, is_linear
from slipstream.adapters.dialects import Aliases, resolve
from slipstream.adapters.dropout import NO_DROPOUT, Dropout
from slipstream.adapters.kinds import Recipe, branch_of_file, fresh_branch, misfit
from slipstream.adapters.patterns import Selection, select
from slipstream.core.errors import AdapterError

NO_ALIASES: Aliases = {}


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
    return inject_fresh(model, names, Recipe("lora", rank, alpha, dropout), seed=seed, role=role)


def inject_fresh(model: nn.Module, names: Iterable[str], recipe: Recipe, *, seed: int, role: str = "lora") -> BranchSet:
    """Fresh trainable branches of any kind beside the named linears; the same seed gives the same start everywhere.

    Raises:
        AdapterError: the kind does not fit a linear; nothing is attached then.
    """
    generator = torch.Generator().manual_seed(seed)
    linears = linears_of(model)
    branches = {name: fresh_branch(name, linears[name], recipe, generator) for name in sorted(names)}
    return attach_all(model, role, branches)


def inject_weights(
    model: nn.Module,
    weights: Mapping[str, Mapping[str, Tensor] | tuple[Tensor, Tensor]],
    *,
    role: str,
    source: str,
    dtype: torch.dtype | None = None,
    aliases: Aliases = NO_ALIASES,
) -> tuple[BranchSet, str]:
    """A frozen adapter from file weights by module; returns it with its "N of N modules matched" line.

    Args:
        weights: `LoraFile.modules`, or (A, B) per module for a plain LoRA.
        aliases: names of modules in other layouts of this family.

    Raises:
        AdapterError: a module is missing in the model or has another shape; nothing is attached then.
    """
    modules, line = match(model, weights, source=source, aliases=aliases)
    linears = linears_of(model)
    branches: dict[str, Branch] = {}
    for name, tensors in modules.items():
        device, kept = device_of(linears[name]), dtype or dtype_of(linears[name])
        branches[name] = branch_of_file(
            {key: tensor.to(device, torch.float32 if key in PRECISE else kept) for key, tensor in tensors.items()}
        )
    return attach_all(model, role, branches), line


def match(
    model: nn.Module,
    weights: Mapping[str, Mapping[str, Tensor] | tuple[Tensor, Tensor]],
    *,
    source: str,
    aliases: Aliases = NO_ALIASES,
) -> tuple[dict[str, Mapping[str, Tensor]], str]:
    """File weights under the model's names, with their "N of N modules matched" line.

    Raises:
        AdapterError: a module is missing in the model or has another shape.
    """
    linears = linears_of(model)
    named = {name: _by_key(tensors) for name, tensors in weights.items()}
    modules = resolve(named, linears, aliases, source)
    problems = [problem for name, tensors in modules.items() if (problem := _mismatch(name, tensors, linears))]
    matched = len(modules) - len(problems)
    line = f"{matched} of {len(modules)} modules matched"
    if problems or not weights:
        raise AdapterError(
            f"adapter does not fit this model: {line}; {'; '.join(problems[:3])}" + ("; ..." if problems[3:] else ""),
            where=source,
            fix="use an adapter made for this base model (Z-Image keys look like "
            "`diffusion_model.layers.0.attention.to_q.lora_A.weight`).",
        )
    return modules, line


def _by_key(tensors: Mapping[str, Tensor] | tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
    if isinstance(tensors, tuple):
        return {"lora_A.weight": tensors[0], "lora_B.weight": tensors[1]}
    return tensors


def _mismatch(name: str, tensors: Mapping[str, Tensor], linears: Mapping[str, nn.Module]) -> str | None:
    """What is wrong with one module of a file, or None."""
    if name not in linears:
        return f"the model has no linear {name!r}"
    problem = misfit(tensors, linears[name])
    return f"{name}: {problem}" if problem else None

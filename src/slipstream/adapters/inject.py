"""Choosing linears of a model and putting low-rank branches beside them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from slipstream.adapters.low_rank import AdaptedLinear, BranchSet, LowRank, fresh_pair
from slipstream.core.errors import AdapterError


def linears_of(model: nn.Module) -> dict[str, nn.Linear]:
    """Every linear of the model by name; one already adapted counts under its own name."""
    found: dict[str, nn.Linear] = {}
    for name, module in model.named_modules():
        if isinstance(module, AdaptedLinear):
            found[name] = module.base
        elif isinstance(module, nn.Linear) and not name.endswith(".base"):
            found[name] = module
    return found


def select_targets(model: nn.Module, root: str, suffixes: Iterable[str]) -> list[str]:
    """Names of the linears below `root` (such as `layers`) that end in one of the suffixes.

    Raises:
        AdapterError: a suffix matches nothing; the message names near ones.
    """
    names = [name for name in linears_of(model) if name.startswith(f"{root}.")]
    endings = sorted({".".join(name.split(".")[2:]) for name in names})
    chosen: set[str] = set()
    for suffix in suffixes:
        matched = [name for name in names if name.endswith(f".{suffix}")]
        if not matched:
            near = difflib.get_close_matches(suffix, endings, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from: {', '.join(endings)}."
            raise AdapterError(
                f"no linear in a block of {root!r} is called {suffix!r}", where="target.target_modules", fix=hint
            )
        chosen.update(matched)
    return [name for name in names if name in chosen]


def attach(model: nn.Module, name: str, role: str, branch: LowRank) -> None:
    """Put a branch beside the linear `name`, wrapping it on first use."""
    parent_name, _, child = name.rpartition(".")
    parent = model.get_submodule(parent_name)
    module = parent.get_submodule(child)
    if not isinstance(module, AdaptedLinear):
        if not isinstance(module, nn.Linear):
            raise AdapterError(f"{name} is a {type(module).__name__}, not a linear layer")
        module = AdaptedLinear(module)
        setattr(parent, child, module)
    if role in module.branches:
        raise AdapterError(f"{name} already has a {role!r} branch", fix="attach one adapter of a kind at a time.")
    module.branches[role] = branch


def inject_lora(
    model: nn.Module, names: Iterable[str], *, rank: int, alpha: float, seed: int, role: str = "lora"
) -> BranchSet:
    """A fresh trainable LoRA beside the named linears; with the same seed the same start on every device."""
    generator = torch.Generator().manual_seed(seed)
    linears = linears_of(model)
    branches: dict[str, LowRank] = {}
    for name in sorted(names):
        a, b = fresh_pair(linears[name], rank, generator)
        branches[name] = LowRank(a, b, alpha, trainable=True)
        attach(model, name, role, branches[name])
    return BranchSet(role, branches)


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
    branches: dict[str, LowRank] = {}
    for name, (a, b) in weights.items():
        weight = linears[name].weight
        a, b = (tensor.to(weight.device, dtype or weight.dtype) for tensor in (a, b))
        branches[name] = LowRank(a, b, float(a.shape[0]), trainable=False)
        attach(model, name, role, branches[name])
    return BranchSet(role, branches), line


def _mismatch(name: str, pair: tuple[Tensor, Tensor], linears: Mapping[str, nn.Linear]) -> str | None:
    """What is wrong with one module of a file, or None."""
    if name not in linears:
        return f"the model has no linear {name!r}"
    a, b = pair
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
        return f"{name}: {tuple(a.shape)} and {tuple(b.shape)} are not (rank, in) and (out, rank)"
    expected = (linears[name].out_features, linears[name].in_features)
    got = (b.shape[0], a.shape[1])
    if got != expected:
        return f"{name}: the file is for a {got[0]}x{got[1]} layer, the model has {expected[0]}x{expected[1]}"
    return None

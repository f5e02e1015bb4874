"""Going on from an adapter that is there: its weights become the start of fresh branches, at another rank too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from slipstream.adapters.branches import Branch, BranchSet, device_of
from slipstream.adapters.dialects import Aliases
from slipstream.adapters.dora import DoRA
from slipstream.adapters.files import load_lora
from slipstream.adapters.inject import NO_ALIASES, linears_of, match
from slipstream.adapters.kinds import kind_of
from slipstream.core.errors import AdapterError

_PAIRS = ("lora", "dora")
_A, _B = "lora_A.weight", "lora_B.weight"


@dataclass(frozen=True)
class _Fit:
    """A and B at another rank, and the share of the product's energy (squared norm) that is left."""

    a: Tensor
    b: Tensor
    kept: float


@torch.no_grad()
def start_from(model: nn.Module, branches: BranchSet, path: Path, *, aliases: Aliases = NO_ALIASES) -> str:
    """Give fresh branches the weights of a file, alpha and all; returns a line for the log.

    A LoRA of another rank is cut to the strongest directions of its product, or gets fresh ones beside it that change
    nothing yet. A DoRA may start from a LoRA. Modules that the file lacks start fresh.

    Raises:
        AdapterError: the file does not fit the model, is of another kind, or holds modules that are not trained.
    """
    modules, line = match(model, load_lora(path).modules, source=str(path), aliases=aliases)
    untrained = [name for name in modules if name not in branches.branches]
    if untrained:
        raise AdapterError(
            f"{line}, but {len(untrained)} of them are not trained here: {', '.join(untrained[:3])}", where=str(path),
            fix="take them in with target.target_modules, target.parts and target.blocks, so that nothing of it is "
            "lost.",
        )  # fmt: skip
    linears = linears_of(model)
    fits = [_start(name, branches.branches[name], tensors, linears[name], path) for name, tensors in modules.items()]
    ranks = sorted({(old, new) for old, new, _ in fits if old != new})
    changes = ", ".join(f"rank {old} -> {new}" for old, new in ranks)
    kept = sum(share for *_, share in fits) / len(fits)
    fresh = len(branches.branches) - len(modules)
    return (
        f"start from {path.name}: {line}"
        + (f", {changes}" if changes else "")
        + (f", {kept:.1%} of it kept" if kept < 0.9995 else "")
        + (f", {fresh} more start fresh" if fresh else "")
    )


def _start(
    name: str, branch: Branch, tensors: Mapping[str, Tensor], linear: nn.Module, path: Path
) -> tuple[int, int, float]:
    """(rank in the file, rank here, share kept) of one module; ranks are 0 where there are none."""
    kind = kind_of(tensors) or ""
    on_device = {key: tensor.to(device_of(linear), torch.float32) for key, tensor in tensors.items()}
    if branch.kind not in _PAIRS or kind not in _PAIRS or (branch.kind, kind) == ("lora", "dora"):
        if kind != branch.kind:
            raise AdapterError(
                f"this is a {kind}, and target.type is {branch.kind}", where=str(path),
                fix=f"set target.type to {kind}, or start from another file.",
            )  # fmt: skip
        _adopt(name, branch, on_device, path)
        return 0, 0, 1.0
    fresh = branch.exported()
    rank = fresh[_A].shape[0]
    fit = fit_rank(on_device[_A], on_device[_B], fresh[_A])
    fitted = {**fresh, **on_device, _A: fit.a, _B: fit.b}
    _adopt(name, branch, fitted, path)
    if isinstance(branch, DoRA) and kind == "lora":
        branch.keep_lengths(linear)
    return on_device[_A].shape[0], rank, fit.kept


def fit_rank(a: Tensor, b: Tensor, fresh_a: Tensor) -> _Fit:
    """A (R, in) and B (out, R) at the rank of `fresh_a`: the product's strongest directions, or all and fresh rows.

    New rows are random in A and zero in B: the product stays, and they can learn.
    """
    old, new = a.shape[0], fresh_a.shape[0]
    if new >= old:
        return _Fit(torch.cat((a, fresh_a[old:])), torch.cat((b, b.new_zeros(b.shape[0], new - old)), dim=1), 1.0)
    left_basis, left = torch.linalg.qr(b)
    right_basis, right = torch.linalg.qr(a.T)
    u, values, v = torch.linalg.svd(left @ right.T, full_matrices=False)
    root, energy = values[:new].sqrt(), values.square()
    kept = float(energy[:new].sum() / energy.sum().clamp_min(torch.finfo(energy.dtype).tiny))
    fitted_a = root[:, None] * (v[:new] @ right_basis.T)
    fitted_b = (left_basis @ u[:, :new]) * root
    missing = new - len(root)  # a product of a thin layer has fewer directions than the rank
    return _Fit(
        torch.cat((fitted_a, fresh_a[new - missing :] if missing else fresh_a[:0])),
        torch.cat((fitted_b, b.new_zeros(b.shape[0], missing)), dim=1),
        kept,
    )


def _adopt(name: str, branch: Branch, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put a file's tensors into a branch of their kind, so that its effect is the file's."""
    theirs = dict(branch.of_file(tensors).named_parameters())
    mine = dict(branch.named_parameters())
    for key in mine.keys() | theirs.keys():
        shapes = [tuple(found[key].shape) if key in found else None for found in (theirs, mine)]
        if shapes[0] != shapes[1]:
            raise AdapterError(
                f"{name}: {key} is {shapes[0] or 'missing'} in the file and {shapes[1] or 'missing'} here",
                where=str(path), fix="set target.rank and the other sizes of target as the file has them.",
            )  # fmt: skip
    for key, parameter in mine.items():
        parameter.data.copy_(theirs[key].detach() / (branch.scale if key == branch.scaled else 1.0))

"""The kinds of branches by name: made anew, made from a file's tensors, and known by the tensors they have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slipstream.adapters import dora, loha, lokr, low_rank, oft
from slipstream.adapters.branches import Branch, shape_of
from slipstream.adapters.dropout import NO_DROPOUT, Dropout
from slipstream.core.errors import AdapterError

Tensors = Mapping[str, Tensor]
"""A branch as a file holds it: tensors by the end of their key (`lora_A.weight`), alpha put in."""


@dataclass(frozen=True)
class Recipe:
    """What a fresh branch is made by.

    Attributes:
        kind: `lora`, `lokr`, `loha`, `dora` or `oft`.
        rank: inner dimension; of an OFT the block size.
        alpha: the effect is alpha / rank; of an OFT the limit of Q's norm, 0 = none.
        init: of LoRA and DoRA `default`, `orthogonal`, and of LoRA `pissa`.
        lokr_factor: wanted size of a LoKr's small matrix, None = near the square root.
        lokr_full_rank: whether a LoKr's large matrix is whole.
    """

    kind: str
    rank: int
    alpha: float
    dropout: Dropout = NO_DROPOUT
    init: str = "default"
    lokr_factor: int | None = None
    lokr_full_rank: bool = False


def fresh_branch(name: str, linear: nn.Module, recipe: Recipe, generator: torch.Generator) -> Branch:
    """A trainable branch that changes nothing yet.

    Raises:
        AdapterError: the kind does not fit this linear.
    """
    rank, alpha, dropout = recipe.rank, recipe.alpha, recipe.dropout
    if recipe.kind == "lokr":
        return lokr.fresh_lokr(
            linear, rank, alpha, generator, factor=recipe.lokr_factor, full_rank=recipe.lokr_full_rank, dropout=dropout
        )
    if recipe.kind == "loha":
        return loha.fresh_loha(linear, rank, alpha, generator, dropout)
    if recipe.kind == "oft":
        return oft.fresh_oft(linear, rank, alpha, name, dropout)
    if recipe.init == "pissa":
        _require_rank(name, linear, rank)
        a, b = low_rank.principal_pair(linear, rank, alpha / rank, generator)
        return low_rank.LowRank(a, b, alpha, trainable=True, dropout=dropout, minus_start=True)
    a, b = low_rank.fresh_pair(linear, rank, generator, orthogonal=recipe.init == "orthogonal")
    if recipe.kind == "dora":
        return dora.fresh_dora(linear, a, b, alpha / rank, dropout)
    return low_rank.LowRank(a, b, alpha, trainable=True, dropout=dropout)


def _require_rank(name: str, linear: nn.Module, rank: int) -> None:
    largest = min(shape_of(linear))
    if rank > largest:
        raise AdapterError(
            f"{name} has only {largest} singular values, not {rank}", where="target.init",
            fix=f"with pissa use a target.rank of at most {largest}, or leave this layer out.",
        )  # fmt: skip


@dataclass(frozen=True)
class _Kind:
    of_file: Callable[[Tensors], Branch]
    shape_in_file: Callable[[Tensors], tuple[int, int | None]]
    layouts: tuple[frozenset[str], ...]


_PAIR = frozenset({"lora_A.weight", "lora_B.weight"})
_KINDS = {
    "lora": _Kind(low_rank.LowRank.of_file, low_rank.shape_in_file, (_PAIR,)),
    "dora": _Kind(dora.DoRA.of_file, dora.shape_in_file, (_PAIR | {"dora_scale"},)),
    "lokr": _Kind(
        lokr.LoKr.of_file,
        lokr.shape_in_file,
        (frozenset({"lokr_w1", "lokr_w2"}), frozenset({"lokr_w1", "lokr_w2_a", "lokr_w2_b"})),
    ),
    "loha": _Kind(
        loha.LoHa.of_file,
        loha.shape_in_file,
        (frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}),),
    ),
    "oft": _Kind(oft.OFT.of_file, oft.shape_in_file, (frozenset({"oft_blocks"}),)),
}


def kind_of(tensors: Tensors) -> str | None:
    """The kind of a branch with these tensors, None where some are missing or strange."""
    return next((name for name, kind in _KINDS.items() if frozenset(tensors) in kind.layouts), None)


def missing_partner(keys: frozenset[str]) -> str | None:
    """The first tensor that these lack for the nearest kind; None where none begins with them."""
    lacking = [sorted(layout - keys) for kind in _KINDS.values() for layout in kind.layouts if keys < layout]
    return min(lacking, key=len)[0] if lacking else None


def branch_of_file(tensors: Tensors) -> Branch:
    """A frozen branch from a file's tensors, which must be of a kind."""
    return _KINDS[kind_of(tensors) or ""].of_file(tensors)


def misfit(tensors: Tensors, linear: nn.Module) -> str | None:
    """Why a file's tensors do not fit a linear, or None."""
    try:
        height, width = _KINDS[kind_of(tensors) or ""].shape_in_file(tensors)
    except ValueError as error:
        return str(error)
    expected = shape_of(linear)
    got = (height, expected[1] if width is None else width)
    if got == expected:
        return None
    return f"the file is for a {got[0]}x{got[1]} layer, the model has {expected[0]}x{expected[1]}"

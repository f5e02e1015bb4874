"""Whether the main blocks run as one function with a backward pass by hand, and a line that says why or why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from slipstream.adapters.branches import AdaptedLinear, Branch, BranchSet
from slipstream.adapters.low_rank import LowRank
from slipstream.kernels.attention import fastest_attention
from slipstream.memory.levels import LevelsAt
from slipstream.models.z_image.family import ADAPTER_ROOT, release_memory
from slipstream.models.z_image.fast_predictor import FastPredictor
from slipstream.models.z_image.stack import BlockStack

TOKENS = 2432
"""Tokens at which attention is timed: 768 x 768 with a caption of 128."""


@dataclass(frozen=True)
class FastPath:
    """The blocks as one function, the prediction over them, and the name of the attention that was chosen."""

    stack: BlockStack
    predict: FastPredictor
    attention: str


def fast_path(
    transformer: nn.Module, lora: BranchSet, device: torch.device, *, levels_at: LevelsAt | None = None,
    attention: str | None = None,
) -> tuple[FastPath | None, list[str]]:  # fmt: skip
    """The fast path over a transformer with its branches attached, or None, and lines that say what was chosen and why.

    It takes plain LoRA (and a LoRA training adapter) beside bf16 weights on CUDA; everything else trains block by
    block, module by module, with the same result.

    Args:
        levels_at: what blocks keep for the backward pass.
        attention: the kernel that this run has used so far; it is timed anew where that is None or does not run here.
    """
    obstacle = _obstacle(transformer, device)
    if obstacle is not None:
        return None, [f"blocks: module by module ({obstacle})"]
    blocks = list(cast(nn.ModuleList, transformer.get_submodule(ADAPTER_ROOT)))
    heads = int(blocks[0].attention.heads)  # type: ignore[union-attr, arg-type]
    width = int(blocks[0].attention.norm_q.weight.shape[0])  # type: ignore[union-attr, index]
    chosen = fastest_attention(device, torch.bfloat16, heads=heads, width=width, tokens=TOKENS, known=attention)
    stack = BlockStack(blocks, [branches_of(block) for block in blocks], chosen.attend, levels_at=levels_at)
    release_memory()  # the linears' first weights, which the joint matrices replaced
    against = _obstacle_to_graphs(transformer, stack)
    predict = FastPredictor(transformer, stack, lora.parameters() if against is None else None)
    graphs = (
        "CUDA graphs: one per shape, from its second batch on" if against is None else f"CUDA graphs: none ({against})"
    )
    return FastPath(stack, predict, chosen.name), [
        "blocks: fused, with a backward pass by hand", chosen.line, graphs,
    ]  # fmt: skip


def can_run_fast(transformer: nn.Module, device: torch.device) -> bool:
    """Whether `fast_path` will take it."""
    return _obstacle(transformer, device) is None


def _obstacle_to_graphs(transformer: nn.Module, stack: BlockStack) -> str | None:
    """What keeps predictions from being captured, or None."""
    if not stack.fits_graphs:
        return "adaLN has several branches, or not in every block"
    if any(isinstance(part, AdaptedLinear) and not name.startswith(f"{ADAPTER_ROOT}.") for name, part in
           transformer.named_modules()):  # fmt: skip
        return "there are branches outside of the main blocks"
    return None


def _obstacle(transformer: nn.Module, device: torch.device) -> str | None:
    """What keeps a transformer from the fast path, or None."""
    if device.type != "cuda":
        return "fused blocks need a CUDA GPU"
    if next(transformer.parameters()).dtype != torch.bfloat16:
        return "fused blocks compute in bf16, the weights are not"
    for name, host in _hosts(transformer):
        if not isinstance(host.base, nn.Linear):
            return "the weights are quantized"
        for module in host.branches.values():
            branch = cast(Branch, module)
            if not isinstance(branch, LowRank) or branch.minus_start:
                return f"{name} has a branch of another kind than plain LoRA"
            if branch.dropout.inputs or branch.dropout.ranks or branch.dropout.modules:
                return "the LoRA has dropout"
    return None


def _hosts(module: nn.Module) -> Iterator[tuple[str, AdaptedLinear]]:
    """Adapted linears of the main blocks."""
    for name, part in module.named_modules():
        if isinstance(part, AdaptedLinear) and name.startswith(ADAPTER_ROOT):
            yield name, part


def branches_of(block: nn.Module) -> dict[str, Mapping[str, LowRank]]:
    """The branches of one block that are not folded, by the name of the linear they sit beside, then by role."""
    found: dict[str, Mapping[str, LowRank]] = {}
    for name, part in block.named_modules():
        if isinstance(part, AdaptedLinear):
            live = [role for role in part.branches if role not in part.folded]
            found[name] = Live(part.branches, live)
    return found


class Live(Mapping[str, LowRank]):
    """Some roles of a linear's branches, whichever branch holds the role at the moment."""

    def __init__(self, branches: nn.ModuleDict, roles: Sequence[str]) -> None:
        self._branches, self._roles = branches, tuple(roles)

    def __getitem__(self, role: str) -> LowRank:
        return cast(LowRank, self._branches[role])

    def __iter__(self) -> Iterator[str]:
        return iter(self._roles)

    def __len__(self) -> int:
        return len(self._roles)

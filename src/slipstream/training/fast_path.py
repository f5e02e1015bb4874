"""Whether the main blocks run as one function with a backward pass by hand, and a line that says why or why not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import nn

from slipstream.adapters.branches import AdaptedLinear, Branch
from slipstream.adapters.low_rank import LowRank
from slipstream.kernels.attention import fastest_attention
from slipstream.memory.levels import same_level
from slipstream.models.z_image.family import ADAPTER_ROOT, release_memory
from slipstream.models.z_image.stack import BlockStack

TOKENS = 2432
"""Tokens at which attention is timed: 768 x 768 with a caption of 128."""


def fast_path(transformer: nn.Module, device: torch.device, *, keep_inputs: bool) -> tuple[BlockStack | None, str]:
    """The block stack of a transformer with its branches attached, or None, and the reason.

    It takes plain LoRA (and a LoRA training adapter) beside bf16 weights on CUDA; everything else trains block by
    block, module by module, with the same result.
    """
    obstacle = _obstacle(transformer, device)
    if obstacle is not None:
        return None, f"blocks: module by module ({obstacle})"
    blocks = list(cast(nn.ModuleList, transformer.get_submodule(ADAPTER_ROOT)))
    heads = int(blocks[0].attention.heads)  # type: ignore[union-attr, arg-type]
    width = int(blocks[0].attention.norm_q.weight.shape[0])  # type: ignore[union-attr, index]
    attention = fastest_attention(device, torch.bfloat16, heads=heads, width=width, tokens=TOKENS)
    levels_at = same_level("input" if keep_inputs else "everything", len(blocks))
    stack = BlockStack(blocks, [branches_of(block) for block in blocks], attention.attend, levels_at=levels_at)
    release_memory()  # the linears' first weights, which the joint matrices replaced
    kept = (
        "inputs are kept and blocks run again" if keep_inputs else "outputs of matrix products and attention are kept"
    )
    return stack, f"blocks: fused, with a backward pass by hand ({kept}); {attention.line}"


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


def branches_of(block: nn.Module) -> dict[str, list[LowRank]]:
    """The branches of one block by the name of the linear they sit beside."""
    return {
        name: [cast(LowRank, branch) for branch in part.branches.values()]
        for name, part in block.named_modules()
        if isinstance(part, AdaptedLinear)
    }

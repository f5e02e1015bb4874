"""The main blocks of Z-Image as one function with a backward pass written by hand.

Autograd would keep more than is needed, read every activation several times and launch hundreds of kernels a block.
`fused_block` is one block; `tests/models/test_stack.py` shows that outputs and gradients agree with the modules'.

Shape legend: B batch, S tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from slipstream.kernels.attention import Attend
from slipstream.memory.levels import LevelsAt, same_level
from slipstream.models.z_image.fused_block import BlockMath, backward_block, forward_block, fused_block
from slipstream.models.z_image.fused_linear import LowRankBranch
from slipstream.models.z_image.keeping import shelve, unshelve
from slipstream.models.z_image.layout import Rotary


class BlockStack:
    """Blocks with their low-rank branches, for training passes.

    Args:
        blocks: `ZImageTransformerBlock`s with modulation; their linears become views of joint matrices.
        branches: per block, linear name (`attention.to_q`) to the branches beside it.
        attend: the attention kernel.
        levels_at: what each block keeps for the backward pass, by shape; everything where it is left out.
    """

    def __init__(
        self, blocks: Sequence[Any], branches: Sequence[Mapping[str, Sequence[LowRankBranch]]], attend: Attend, *,
        levels_at: LevelsAt | None = None,
    ) -> None:  # fmt: skip
        self.modules = list(blocks)
        self.blocks = [fused_block(block, beside) for block, beside in zip(blocks, branches, strict=True)]
        self.math = BlockMath(int(blocks[0].attention.heads), float(blocks[0].attention_norm1.eps), attend)
        self.levels_at = levels_at or same_level("everything", len(self.blocks))
        self.trained = [part for block in self.blocks for linear in block.linears for part in linear.trained]

    def __call__(self, x_BSD: Tensor, time_BD: Tensor, rotary: Rotary) -> Tensor:
        """The stream after all blocks, with the branches as they are now. All captions have one padded length."""
        for block in self.blocks:
            for linear in block.linears:
                linear.refresh()
        cos, sin = rotary.cos[0, :, 0].contiguous(), rotary.sin[0, :, 0].contiguous()
        modulation = torch.stack([_modulation(module, time_BD) for module in self.modules])
        return _Stack.apply(self, x_BSD.contiguous(), modulation, cos, sin, *self.trained)


def _modulation(block: Any, time_BD: Tensor) -> Tensor:
    """(B, 4, D): scale and tanh gate of attention, then of the feed-forward."""
    scale_msa, gate_msa, scale_mlp, gate_mlp = block.adaLN_modulation(time_BD).chunk(4, dim=1)
    return torch.stack((scale_msa, gate_msa.tanh(), scale_mlp, gate_mlp.tanh()), dim=1)


class _Stack(torch.autograd.Function):
    """x, modulation and branches in; the stream after all blocks out."""

    @staticmethod
    def forward(
        ctx: Any, stack: BlockStack, x: Tensor, modulation: Tensor, cos: Tensor, sin: Tensor, *trained: Tensor
    ) -> Tensor:
        kept = []
        for block, own, level in zip(stack.blocks, modulation, stack.levels_at(*x.shape[:2]), strict=True):
            x, everything = forward_block(stack.math, block, x, own, cos, sin)
            kept.append(shelve(level, everything))
        ctx.stack, ctx.kept = stack, kept
        ctx.save_for_backward(modulation, cos, sin)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        stack: BlockStack = ctx.stack
        modulation, cos, sin = ctx.saved_tensors
        d_x = gradients[0].contiguous()
        d_modulation = torch.empty_like(modulation, dtype=torch.float32)
        found: list[list[Tensor]] = []
        for number in reversed(range(len(stack.blocks))):
            kept = unshelve(stack.math, stack.blocks[number], ctx.kept.pop(), modulation[number], cos, sin)
            d_x, own, d_own = backward_block(stack.math, stack.blocks[number], kept, d_x, modulation[number], cos, sin)
            d_modulation[number] = d_own
            found.append(own)
        branches = [gradient for own in reversed(found) for gradient in own]
        return (None, d_x, d_modulation.type_as(modulation), None, None, *branches)

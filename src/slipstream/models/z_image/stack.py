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
from slipstream.models.z_image.fused_block import (
    BlockMath,
    cross_blocks,
    cross_blocks_backward,
    enter_block,
    enter_block_backward,
    fused_block,
    keep_block,
    keep_block_backward,
    leave_block,
    leave_block_backward,
)
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
        self.norms_N4D = torch.stack([block.norms_4D for block in self.blocks])
        self.trained = [part for block in self.blocks for linear in block.linears for part in linear.trained]

    def __call__(self, x_BSD: Tensor, time_BD: Tensor, rotary: Rotary) -> Tensor:
        """The stream after all blocks, with the branches as they are now. All captions have one padded length."""
        for block in self.blocks:
            for linear in block.linears:
                linear.refresh()
        cos, sin = rotary.cos[0, :, 0].contiguous(), rotary.sin[0, :, 0].contiguous()
        return _Stack.apply(self, x_BSD.contiguous(), self._factors(time_BD), cos, sin, *self.trained)

    def _factors(self, time_BD: Tensor) -> Tensor:
        """(blocks, B, 4, D) fp32: the norms' weights times 1 + scale, tanh gate, 1 + scale and tanh gate."""
        modulation = torch.stack([module.adaLN_modulation(time_BD) for module in self.modules]).float()
        scale_msa, gate_msa, scale_mlp, gate_mlp = modulation.chunk(4, dim=-1)
        factors = torch.stack((1 + scale_msa, gate_msa.tanh(), 1 + scale_mlp, gate_mlp.tanh()), dim=2)
        return factors * self.norms_N4D.unsqueeze(1)


class _Stack(torch.autograd.Function):
    """x, factors and branches in; the stream after all blocks out."""

    @staticmethod
    def forward(
        ctx: Any, stack: BlockStack, x: Tensor, factors: Tensor, cos: Tensor, sin: Tensor, *trained: Tensor
    ) -> Tensor:
        math, blocks = stack.math, stack.blocks
        shelves = []
        entry, space = enter_block(math, blocks[0], x, factors[0])
        for number, level in enumerate(stack.levels_at(*x.shape[:2])):
            kept = keep_block(math, blocks[number], entry, space, factors[number], cos, sin)
            if number + 1 < len(blocks):
                following = blocks[number + 1], factors[number + 1]
                entry, space = cross_blocks(math, kept, factors[number], *following)
            else:
                x = leave_block(math, kept, factors[number])
            shelves.append(shelve(level, kept))
        ctx.stack, ctx.shelves = stack, shelves
        ctx.save_for_backward(factors, cos, sin)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        math, blocks = ctx.stack.math, ctx.stack.blocks
        factors, cos, sin = ctx.saved_tensors
        _, wants_input, wants_factors, *_ = ctx.needs_input_grad
        d_factors = torch.empty_like(factors) if wants_factors else None
        d_own: list[Tensor | None] = [None] * len(blocks) if d_factors is None else list(d_factors)
        number = len(blocks) - 1
        kept = unshelve(math, blocks[number], ctx.shelves.pop(), factors[number], cos, sin)
        d_x = gradients[0].contiguous()
        d_down = leave_block_backward(math, blocks[number], kept, d_x, factors[number], d_own[number])
        found: list[list[Tensor]] = []
        for number in reversed(range(len(blocks))):
            reached = keep_block_backward(
                math, blocks[number], kept, d_x, d_down, factors[number], d_own[number], cos, sin,
                to_entry=number > 0 or wants_input or wants_factors,
            )  # fmt: skip
            found.append(reached.branches)
            entry = kept.entry
            if number > 0:
                kept = unshelve(math, blocks[number - 1], ctx.shelves.pop(), factors[number - 1], cos, sin)
                d_x, d_down = cross_blocks_backward(
                    math, blocks[number - 1], kept, entry, reached, factors[number - 1], d_own[number - 1],
                    d_own[number],
                )  # fmt: skip
        d_input = enter_block_backward(entry, reached, d_own[0]) if wants_input or wants_factors else None
        branches = [gradient for own in reversed(found) for gradient in own]
        return (None, d_input, d_factors, None, None, *branches)

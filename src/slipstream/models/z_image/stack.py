"""The main blocks of Z-Image as one function with a backward pass written by hand.

Autograd would keep more than is needed, read every activation several times and launch hundreds of kernels a block.
`fused_block` is one block; `tests/models/test_stack.py` shows that outputs and gradients agree with the modules'.

Shape legend: B batch, S tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from slipstream.kernels.attention import Attend
from slipstream.kernels.copies import Copy, CopyTable
from slipstream.kernels.float8 import Multiply
from slipstream.memory.levels import LevelsAt, same_level
from slipstream.models.z_image.fused_block import (
    BlockMath,
    Kept,
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
from slipstream.models.z_image.fused_linear import Beside
from slipstream.models.z_image.keeping import Shelved, shelve, unshelve
from slipstream.models.z_image.layout import Rotary
from slipstream.models.z_image.modulation import FusedModulation, modulation_of
from slipstream.models.z_image.streamed import NO_STREAMING, Streaming, Way, stream_blocks


class BlockStack:
    """Blocks with their low-rank branches, as one function.

    Args:
        blocks: `ZImageTransformerBlock`s with modulation; their linears become views of joint matrices.
        branches: per block, linear name (`attention.to_q`) to the branches beside it by role.
        attend: the attention kernel.
        levels_at: what each block keeps for the backward pass, by shape; everything where it is left out.
        multiply: the product of float8 linears (`kernels.float8`); needed where the blocks' linears are kept so.
        keep_transposed: hold float8 codes a second time, transposed, for the backward pass.
        streaming: which blocks' weights stay where they are, in host memory, and visit the device.
    """

    def __init__(
        self, blocks: Sequence[Any], branches: Sequence[Mapping[str, Beside]], attend: Attend, *,
        levels_at: LevelsAt | None = None, multiply: Multiply | None = None, keep_transposed: bool = True,
        streaming: Streaming = NO_STREAMING,
    ) -> None:  # fmt: skip
        slots = streaming.slots(blocks, branches)
        self.blocks = [
            fused_block(block, beside, multiply, keep_transposed=keep_transposed, slot=slots(number))
            for number, (block, beside) in enumerate(zip(blocks, branches, strict=True))
        ]
        self.streamed = stream_blocks(streaming, self.blocks)
        self.math = BlockMath(int(blocks[0].attention.heads), float(blocks[0].attention_norm1.eps), attend)
        self.levels_at = levels_at or same_level("everything", len(self.blocks))
        self.norms_N4D = torch.stack([block.norms_4D for block in self.blocks])
        self.trained = [part for block in self.blocks for linear in block.linears for part in linear.trained]
        self._modulation = modulation_of(blocks, branches)
        self._linears = [linear for block in self.blocks for linear in block.linears]
        self._for_training, self._for_use = CopyTable(lasting=True), CopyTable(lasting=False)
        self._as_trained = False

    def __call__(
        self, x_BSD: Tensor, time_BD: Tensor, rotary: Rotary, lengths: tuple[int, ...] | None = None
    ) -> Tensor:
        """The stream after all blocks; `lengths` are the samples' tokens where they differ.

        With gradients the branches are taken as they are now; without, as they were at the last `refresh`.
        """
        if torch.is_grad_enabled():
            self._as_trained = False
            self.settle()
        cos, sin = (angles.flatten(0, 2).contiguous() for angles in (rotary.cos, rotary.sin))
        math = replace(self.math, lengths=lengths)
        factors = self._factors(time_BD)
        if torch.is_grad_enabled() and (self.trained or x_BSD.requires_grad or factors.requires_grad):
            return _Stack.apply(self, math, x_BSD.contiguous(), factors, cos, sin, *self.trained)
        return _run(self, math, x_BSD.contiguous(), factors, cos, sin, lambda kept: None, "round")

    def refresh(self) -> None:
        """Take over the branches' present values and switches."""
        self._as_trained = False
        self._for_use.run(self._copies())

    def settle(self) -> None:
        """Before a backward pass: the branches as they were in its forward pass, if others were used in between."""
        if not self._as_trained:
            self._for_training.run(self._copies())
            self._as_trained = True

    def _copies(self) -> list[Copy]:
        return [copy for part in (*self._linears, self._modulation) for copy in part.copies()]

    @property
    def fits_graphs(self) -> bool:
        """Whether what it reads of scales and gates stays where it is from call to call."""
        return isinstance(self._modulation, FusedModulation)

    def factors(self) -> tuple[float, ...]:
        """Scale or 0 of every branch: beside values and shapes all that a training pass depends on."""
        return (self._modulation.factor, *(place.factor for linear in self._linears for place in linear.places))

    def _factors(self, time_BD: Tensor) -> Tensor:
        """(blocks, B, 4, D) fp32: the norms' weights times 1 + scale, tanh gate, 1 + scale and tanh gate."""
        scale_msa, gate_msa, scale_mlp, gate_mlp = self._modulation(time_BD).float().chunk(4, dim=-1)
        factors = torch.stack((1 + scale_msa, gate_msa.tanh(), 1 + scale_mlp, gate_mlp.tanh()), dim=2)
        return factors * self.norms_N4D.unsqueeze(1)


def _run(
    stack: BlockStack, math: BlockMath, x: Tensor, factors: Tensor, cos: Tensor, sin: Tensor,
    keep: Callable[[Kept], None], way: Way,
) -> Tensor:  # fmt: skip
    """The blocks one after the other; `keep` gets what each backward pass needs."""
    blocks, streamed = stack.blocks, stack.streamed
    entry, space = enter_block(math, blocks[0], x, factors[0])
    for number in range(len(blocks)):
        streamed.arrive(number, way)
        kept = keep_block(math, blocks[number], entry, space, factors[number], cos, sin)
        streamed.leave(number)
        if number + 1 < len(blocks):
            entry, space = cross_blocks(math, kept, factors[number], blocks[number + 1], factors[number + 1])
        else:
            x = leave_block(math, kept, factors[number])
        keep(kept)
    return x


class _Stack(torch.autograd.Function):
    """x, factors and branches in; the stream after all blocks out."""

    @staticmethod
    def forward(
        ctx: Any, stack: BlockStack, math: BlockMath, x: Tensor, factors: Tensor, cos: Tensor, sin: Tensor,
        *trained: Tensor,
    ) -> Tensor:  # fmt: skip
        shelves: list[Shelved] = []
        levels = stack.levels_at(*x.shape[:2])
        x = _run(
            stack, math, x, factors, cos, sin, lambda kept: shelves.append(shelve(levels[len(shelves)], kept)),
            "forward",
        )  # fmt: skip
        ctx.stack, ctx.math, ctx.shelves = stack, math, shelves
        ctx.save_for_backward(factors, cos, sin)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        ctx.stack.settle()
        math, blocks, streamed = ctx.math, ctx.stack.blocks, ctx.stack.streamed
        factors, cos, sin = ctx.saved_tensors
        _, _, wants_input, wants_factors, *_ = ctx.needs_input_grad
        d_factors = torch.empty_like(factors) if wants_factors else None
        d_own: list[Tensor | None] = [None] * len(blocks) if d_factors is None else list(d_factors)
        number = len(blocks) - 1
        streamed.arrive(number, "backward")
        kept = unshelve(math, blocks[number], ctx.shelves.pop(), factors[number], cos, sin)
        d_x = gradients[0].contiguous()
        d_down = leave_block_backward(math, blocks[number], kept, d_x, factors[number], d_own[number])
        found: list[list[Tensor]] = []
        for number in reversed(range(len(blocks))):
            reached = keep_block_backward(
                math, blocks[number], kept, d_x, d_down, factors[number], d_own[number], cos, sin,
                to_entry=number > 0 or wants_input or wants_factors,
            )  # fmt: skip
            streamed.leave(number)
            found.append(reached.branches)
            entry = kept.entry
            if number > 0:
                streamed.arrive(number - 1, "backward")
                kept = unshelve(math, blocks[number - 1], ctx.shelves.pop(), factors[number - 1], cos, sin)
                d_x, d_down = cross_blocks_backward(
                    math, blocks[number - 1], kept, entry, reached, factors[number - 1], d_own[number - 1],
                    d_own[number],
                )  # fmt: skip
        d_input = enter_block_backward(entry, reached, d_own[0]) if wants_input or wants_factors else None
        branches = [gradient for own in reversed(found) for gradient in own]
        return (None, None, d_input, d_factors, None, None, *branches)

"""One main block of Z-Image, forward and backward by hand, keeping what its matrix products and attention put out.

Everything between them is one pass over memory (`kernels/rows`), and the low-rank branches ride inside the matrix
products (`fused_linear`). `forward.modulated_block` is the same computation in plain torch.

A block's end and the next one's beginning are one pass too, so blocks meet in functions of their own: `enter_block`,
`keep_block`, then `cross_blocks` and `keep_block` for every further one, `leave_block`; and back again the same way.

A block has four norms. Each one's weight times what a sample's modulation makes of it is a row of `factors_B4D`, fp32:
into attention, after it, into the feed-forward, after it.

Shape legend: B batch, S tokens, D width, R = B * S rows, H heads, E = D / H, F width of the feed-forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from slipstream.kernels.attended import Attended, attended
from slipstream.kernels.attention import Attend
from slipstream.kernels.float8 import Multiply, Product
from slipstream.kernels.row_output import Normed, RowOutput
from slipstream.kernels.rows import row_operations
from slipstream.memory.streaming import Space
from slipstream.models.z_image.fused_linear import Beside
from slipstream.models.z_image.fused_linear8 import JointLinear, joint_linear, products_of, slot_bytes

QKV = ("attention.to_q", "attention.to_k", "attention.to_v")
OUT = ("attention.to_out.0",)
UP = ("feed_forward.w1", "feed_forward.w3")
DOWN = ("feed_forward.w2",)
_GROUPS = (QKV, OUT, UP, DOWN)
INTO_ATTENTION, AFTER_ATTENTION, INTO_FEED_FORWARD, AFTER_FEED_FORWARD = range(4)
"""Rows of a block's factors."""


@dataclass(frozen=True)
class FusedBlock:
    """One block's matrices and norms."""

    qkv: JointLinear
    out: JointLinear
    up: JointLinear
    down: JointLinear
    norms_4D: Tensor
    """Weights of the norms in the order of the factors, fp32."""
    head_norms: tuple[Tensor, Tensor]
    """Weights of the query's and the key's norm, (E,)."""

    @property
    def linears(self) -> tuple[JointLinear, JointLinear, JointLinear, JointLinear]:
        """In the order in which gradients are returned."""
        return self.qkv, self.out, self.up, self.down


@dataclass(frozen=True)
class Kept:
    """What the backward pass of a block needs: its input, and what its matrix products and its attention put out.

    `models/z_image/keeping` keeps less between the passes and completes it again.
    """

    entry: Normed
    qkv: Tensor
    h_qkv: Tensor
    attended: Attended
    h_out: Tensor
    out: Tensor
    joined: Normed
    h_up: Tensor
    up: Tensor
    h_down: Tensor
    down: Tensor


@dataclass(frozen=True)
class BlockMath:
    """What all blocks of a stack have in common; `lengths` are the samples' tokens where they differ."""

    num_heads: int
    eps: float
    attend: Attend
    lengths: tuple[int, ...] | None = None


def fused_block(
    block: Any, branches: Mapping[str, Beside], multiply: Multiply | None = None, *, keep_transposed: bool = True,
    slot: Space | None = None,
) -> FusedBlock:  # fmt: skip
    """A `ZImageTransformerBlock` with its branches by linear name (`attention.to_q`); its linears become views.

    `multiply` and `keep_transposed` are for float8 linears: see `fused_linear8`. With a `slot` the linears stay as they
    are, and their weights visit it.
    """

    def fused(names: tuple[str, ...]) -> JointLinear:
        return joint_linear(*_members(block, branches, names), multiply, keep_transposed=keep_transposed, slot=slot)

    norms = (block.attention_norm1, block.attention_norm2, block.ffn_norm1, block.ffn_norm2)
    return FusedBlock(
        qkv=fused(QKV), out=fused(OUT), up=fused(UP), down=fused(DOWN),
        norms_4D=torch.stack([norm.weight.detach().float() for norm in norms]),
        head_norms=(block.attention.norm_q.weight, block.attention.norm_k.weight),
    )  # fmt: skip


def products_of_block(block: Any, branches: Mapping[str, Beside]) -> list[Product]:
    """The matrix products of a block's training step: forward and backward of each of its four joint linears."""
    return [product for names in _GROUPS for product in products_of(*_members(block, branches, names))]


def slot_bytes_of_block(block: Any, branches: Mapping[str, Beside]) -> int:
    """Memory of a slot that the block's weights can visit."""
    return sum(slot_bytes(*_members(block, branches, names)) for names in _GROUPS)


def _members(
    block: nn.Module, branches: Mapping[str, Beside], names: tuple[str, ...]
) -> tuple[list[nn.Module], list[Beside]]:
    modules: list[Any] = [block.get_submodule(name) for name in names]
    return [getattr(module, "base", module) for module in modules], [branches.get(name, {}) for name in names]


def enter_block(math: BlockMath, block: FusedBlock, x: Tensor, factors_B4D: Tensor) -> tuple[Normed, RowOutput]:
    """(the stream before the block, normed; the same as input of the block's first matrix product)."""
    space = block.qkv.input_space(x.shape[0] * x.shape[1])
    return row_operations(x.device).norm_scale(x, factors_B4D[:, INTO_ATTENTION], math.eps, space), space


def keep_block(
    math: BlockMath, block: FusedBlock, entry: Normed, space: RowOutput, factors_B4D: Tensor, cos: Tensor, sin: Tensor
) -> Kept:
    """The block up to the join that ends it: all that its backward pass needs."""
    rows = row_operations(entry.rows.device)
    batch, tokens, _ = entry.rows.shape
    qkv, h_qkv = block.qkv.forward(space)
    own = attended(math.attend, *heads_of(math, block, qkv.unflatten(0, (batch, tokens)), cos, sin), math.lengths)
    space = block.out.input_space(batch * tokens)
    rows.fill(own.mixed.detach().transpose(1, 2), space)
    out, h_out = block.out.forward(space)
    joined, space = enter_feed_forward(math, block, entry.rows, out.view_as(entry.rows), factors_B4D)
    up, h_up = block.up.forward(space)
    space = block.down.input_space(batch * tokens)
    rows.swiglu(up.unflatten(0, (batch, tokens)), space)
    down, h_down = block.down.forward(space)
    return Kept(
        entry, qkv, h_qkv, own, h_out, out.view_as(entry.rows), joined, h_up, up, h_down, down.view_as(entry.rows)
    )


def enter_feed_forward(
    math: BlockMath, block: FusedBlock, x: Tensor, out: Tensor, factors_B4D: Tensor
) -> tuple[Normed, RowOutput]:
    """(the stream between the sublayers, normed; the same as input of w1 and w3)."""
    space = block.up.input_space(x.shape[0] * x.shape[1])
    gate, factor = factors_B4D[:, AFTER_ATTENTION], factors_B4D[:, INTO_FEED_FORWARD]
    return row_operations(x.device).join_norm_scale(x, out, gate, factor, math.eps, space), space


def join_attention(math: BlockMath, x: Tensor, out: Tensor, factors_B4D: Tensor) -> Tensor:
    """The stream between the sublayers alone."""
    return row_operations(x.device).join(x, out, factors_B4D[:, AFTER_ATTENTION], math.eps)


def heads_of(
    math: BlockMath, block: FusedBlock, qkv_BSN: Tensor, cos: Tensor, sin: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Normed and rotated query and key, and the value, each (B, H, S, E); angles of S or, one sample's after the
    other's, of B * S tokens."""
    rows = row_operations(qkv_BSN.device)
    value = qkv_BSN.chunk(3, dim=-1)[2].unflatten(-1, (math.num_heads, -1))
    as_angles = qkv_BSN.view(-1, len(cos), qkv_BSN.shape[-1])
    query, key = (
        part.view(value.shape) for part in rows.head_norm_rotate(as_angles, block.head_norms, cos, sin, math.eps)
    )
    return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)


def cross_blocks(
    math: BlockMath, kept: Kept, factors_B4D: Tensor, following: FusedBlock, following_factors_B4D: Tensor
) -> tuple[Normed, RowOutput]:
    """The end of one block and the beginning of the following: what `enter_block` returns there."""
    x = kept.joined.rows
    space = following.qkv.input_space(x.shape[0] * x.shape[1])
    gate, factor = factors_B4D[:, AFTER_FEED_FORWARD], following_factors_B4D[:, INTO_ATTENTION]
    return row_operations(x.device).join_norm_scale(x, kept.down, gate, factor, math.eps, space), space


def leave_block(math: BlockMath, kept: Kept, factors_B4D: Tensor) -> Tensor:
    """The stream (B, S, D) after the block."""
    x = kept.joined.rows
    return row_operations(x.device).join(x, kept.down, factors_B4D[:, AFTER_FEED_FORWARD], math.eps)


@dataclass(frozen=True)
class AtEntry:
    """A gradient that came back to where a block begins.

    Attributes:
        d_x: (B, S, D), of the stream, without what goes through the norm.
        d_normed: (B, S, D), of what the norm put out; None where nobody asks.
        branches: gradients of the block's trained branches.
    """

    d_x: Tensor
    d_normed: Tensor | None
    branches: list[Tensor]


def leave_block_backward(
    math: BlockMath, block: FusedBlock, kept: Kept, d_x: Tensor, factors_B4D: Tensor, d_factors_B4D: Tensor | None
) -> RowOutput:
    """Gradient of what the block's last matrix product put out."""
    d_down = block.down.output_space(d_x.shape[0] * d_x.shape[1])
    gate, d_gate = factors_B4D[:, AFTER_FEED_FORWARD], _row(d_factors_B4D, AFTER_FEED_FORWARD)
    row_operations(d_x.device).join_backward(d_x, kept.down, gate, math.eps, d_down, d_gate)
    return d_down


def cross_blocks_backward(
    math: BlockMath, block: FusedBlock, kept: Kept, following: Normed, reached: AtEntry, factors_B4D: Tensor,
    d_factors_B4D: Tensor | None, d_following_B4D: Tensor | None,
) -> tuple[Tensor, RowOutput]:  # fmt: skip
    """(gradient of the stream, of what the block's last matrix product put out) from the following block's entry."""
    d_x = reached.d_x
    d_down = block.down.output_space(d_x.shape[0] * d_x.shape[1])
    d_x = row_operations(d_x.device).norm_scale_join_backward(
        reached.d_normed, d_x, following, kept.down, factors_B4D[:, AFTER_FEED_FORWARD], math.eps, d_down,
        _row(d_following_B4D, INTO_ATTENTION), _row(d_factors_B4D, AFTER_FEED_FORWARD),
    )  # fmt: skip
    return d_x, d_down


def enter_block_backward(entry: Normed, reached: AtEntry, d_factors_B4D: Tensor | None) -> Tensor:
    """Gradient of the stream before the block."""
    rows = row_operations(entry.rows.device)
    return rows.norm_scale_backward(reached.d_normed, reached.d_x, entry, _row(d_factors_B4D, INTO_ATTENTION))


def _row(factors_B4D: Tensor | None, row: int) -> Tensor | None:
    return None if factors_B4D is None else factors_B4D[:, row]


def keep_block_backward(
    math: BlockMath, block: FusedBlock, kept: Kept, d_x: Tensor, d_down: RowOutput, factors_B4D: Tensor,
    d_factors_B4D: Tensor | None, cos: Tensor, sin: Tensor, *, to_entry: bool = True,
) -> AtEntry:  # fmt: skip
    """Back through what `keep_block` does.

    Args:
        math: what all blocks have in common.
        block: the block.
        kept: what its forward pass left.
        d_x: (B, S, D) gradient of the stream after the block.
        d_down: gradient of what its last matrix product put out.
        factors_B4D: of its norms.
        d_factors_B4D: filled with the factors' gradients but those at the block's ends; None where nobody asks.
        cos: of the rotation.
        sin: of the rotation.
        to_entry: whether anybody asks for `d_normed`.
    """
    rows = row_operations(d_x.device)
    shape = d_x.shape
    number = shape[0] * shape[1]
    d_hidden = block.down.backward_input(d_down)
    d_up = block.up.output_space(number)
    hidden = rows.swiglu_backward(
        d_hidden.view(*shape[:2], -1), kept.up.view(*shape[:2], -1), d_up, wants_hidden=bool(block.down.trained)
    )
    of_down = [] if hidden is None else block.down.gradients(d_down, hidden.flatten(0, 1), kept.h_down)
    d_normed = block.up.backward_input(d_up).view(shape)
    of_up = block.up.gradients(d_up, kept.joined, kept.h_up)

    d_out = block.out.output_space(number)
    d_joined = rows.norm_scale_join_backward(
        d_normed, d_x, kept.joined, kept.out, factors_B4D[:, AFTER_ATTENTION], math.eps, d_out,
        _row(d_factors_B4D, INTO_FEED_FORWARD), _row(d_factors_B4D, AFTER_ATTENTION),
    )  # fmt: skip
    d_mixed = block.out.backward_input(d_out)
    mixed = kept.attended.mixed.detach().transpose(1, 2).reshape(number, -1)
    of_out = block.out.gradients(d_out, mixed, kept.h_out)
    d_qkv = _attention_backward(math, block, kept, d_mixed.view(shape), cos, sin)
    if to_entry:
        d_normed = block.qkv.backward_input(d_qkv).view(shape)
    else:
        block.qkv.backward_ranks(d_qkv)
    of_qkv = block.qkv.gradients(d_qkv, kept.entry, kept.h_qkv)
    return AtEntry(d_joined, d_normed if to_entry else None, [*of_qkv, *of_out, *of_up, *of_down])


def _attention_backward(
    math: BlockMath, block: FusedBlock, kept: Kept, d_mixed_BSD: Tensor, cos: Tensor, sin: Tensor
) -> RowOutput:
    """Gradient of the joint query, key, value."""
    batch, tokens, _ = d_mixed_BSD.shape
    d_mixed = d_mixed_BSD.unflatten(-1, (math.num_heads, -1)).transpose(1, 2)
    found = (part.transpose(1, 2) for part in kept.attended.backward(d_mixed))
    d_query, d_key, d_value = (part.reshape(-1, len(cos), *part.shape[2:]) for part in found)
    d_qkv = block.qkv.output_space(batch * tokens)
    row_operations(d_mixed.device).head_norm_rotate_backward(
        (d_query, d_key, d_value), kept.qkv.unflatten(0, (-1, len(cos))), block.head_norms, cos, sin, math.eps, d_qkv
    )
    return d_qkv

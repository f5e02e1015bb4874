"""One main block of Z-Image, forward and backward by hand, keeping what its matrix products and attention put out.

Everything between them is one pass over memory (`kernels/rows`), and the low-rank branches ride inside the matrix
products (`fused_linear`). `forward.modulated_block` is the same computation in plain torch.

Shape legend: B batch, S tokens, D width, R = B * S rows, H heads, E = D / H, F width of the feed-forward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from slipstream.kernels.attended import Attended, attended
from slipstream.kernels.attention import Attend
from slipstream.kernels.row_output import RowOutput
from slipstream.kernels.rows import row_operations
from slipstream.models.z_image.fused_linear import FusedLinear, LowRankBranch

QKV = ("attention.to_q", "attention.to_k", "attention.to_v")
OUT = ("attention.to_out.0",)
UP = ("feed_forward.w1", "feed_forward.w3")
DOWN = ("feed_forward.w2",)


@dataclass(frozen=True)
class FusedBlock:
    """One block's matrices and norms."""

    qkv: FusedLinear
    out: FusedLinear
    up: FusedLinear
    down: FusedLinear
    norms: tuple[Tensor, Tensor, Tensor, Tensor]
    """Weights before and after attention, before and after the feed-forward."""
    head_norms: tuple[Tensor, Tensor]
    """Weights of the query's and the key's norm, (E,)."""

    @property
    def linears(self) -> tuple[FusedLinear, FusedLinear, FusedLinear, FusedLinear]:
        """In the order in which gradients are returned."""
        return self.qkv, self.out, self.up, self.down


@dataclass(frozen=True)
class Kept:
    """What the backward pass of a block needs: its input, and what its matrix products and its attention put out.

    `models/z_image/keeping` keeps less between the passes and completes it again.
    """

    x: Tensor
    qkv: Tensor
    h_qkv: Tensor
    attended: Attended
    h_out: Tensor
    out: Tensor
    joined: Tensor
    h_up: Tensor
    up: Tensor
    h_down: Tensor
    down: Tensor


@dataclass(frozen=True)
class BlockMath:
    """What all blocks of a stack have in common."""

    num_heads: int
    eps: float
    attend: Attend


def fused_block(block: Any, branches: Mapping[str, Sequence[LowRankBranch]]) -> FusedBlock:
    """A `ZImageTransformerBlock` with its branches by linear name (`attention.to_q`); its linears become views."""

    def fused(names: tuple[str, ...]) -> FusedLinear:
        return FusedLinear([_plain(block, name) for name in names], [branches.get(name, ()) for name in names])

    return FusedBlock(
        qkv=fused(QKV), out=fused(OUT), up=fused(UP), down=fused(DOWN),
        norms=(block.attention_norm1.weight, block.attention_norm2.weight, block.ffn_norm1.weight,
               block.ffn_norm2.weight),
        head_norms=(block.attention.norm_q.weight, block.attention.norm_k.weight),
    )  # fmt: skip


def _plain(block: nn.Module, name: str) -> nn.Linear:
    module: Any = block.get_submodule(name)
    return getattr(module, "base", module)


def forward_block(
    math: BlockMath, block: FusedBlock, x: Tensor, modulation_B4D: Tensor, cos: Tensor, sin: Tensor
) -> tuple[Tensor, Kept]:
    """(stream (B, S, D) after the block, what its backward pass needs)."""
    kept = keep_block(math, block, x, modulation_B4D, cos, sin)
    rows = row_operations(x.device)
    return rows.join(kept.joined, kept.down, modulation_B4D[:, 3], block.norms[3], math.eps), kept


def keep_block(math: BlockMath, block: FusedBlock, x: Tensor, modulation_B4D: Tensor, cos: Tensor, sin: Tensor) -> Kept:
    """The block up to the join that ends it: all that its backward pass needs."""
    rows = row_operations(x.device)
    batch, tokens, width = x.shape
    qkv, h_qkv = qkv_product(math, block, x, modulation_B4D)
    own = attended(math.attend, *heads_of(math, block, qkv.unflatten(0, (batch, tokens)), cos, sin))
    space = block.out.input_space(batch * tokens)
    space.dense.copy_(own.mixed.detach().transpose(1, 2).reshape(batch * tokens, width))
    out, h_out = block.out.forward(space)
    joined = join_attention(math, block, x, out.view_as(x), modulation_B4D)

    up, h_up = up_product(math, block, joined, modulation_B4D)
    space = block.down.input_space(batch * tokens)
    rows.swiglu(up.unflatten(0, (batch, tokens)), space.dense.unflatten(0, (batch, tokens)))
    down, h_down = block.down.forward(space)
    return Kept(x, qkv, h_qkv, own, h_out, out.view_as(x), joined, h_up, up, h_down, down.view_as(x))


def qkv_product(math: BlockMath, block: FusedBlock, x: Tensor, modulation_B4D: Tensor) -> tuple[Tensor, Tensor]:
    """(query, key and value before norm and rotation (R, 3 D), their branches' inner values)."""
    return _normed_product(math, block.qkv, x, block.norms[0], modulation_B4D[:, 0])


def up_product(math: BlockMath, block: FusedBlock, joined: Tensor, modulation_B4D: Tensor) -> tuple[Tensor, Tensor]:
    """(what w1 and w3 put out (R, 2 F), their branches' inner values)."""
    return _normed_product(math, block.up, joined, block.norms[2], modulation_B4D[:, 2])


def _normed_product(
    math: BlockMath, linear: FusedLinear, x: Tensor, norm: Tensor, scale_BD: Tensor
) -> tuple[Tensor, Tensor]:
    batch, tokens, _ = x.shape
    space = linear.input_space(batch * tokens)
    row_operations(x.device).norm_scale(x, norm, scale_BD, math.eps, space.dense.unflatten(0, (batch, tokens)))
    return linear.forward(space)


def join_attention(math: BlockMath, block: FusedBlock, x: Tensor, out: Tensor, modulation_B4D: Tensor) -> Tensor:
    """The stream between the sublayers."""
    return row_operations(x.device).join(x, out, modulation_B4D[:, 1], block.norms[1], math.eps)


def heads_of(
    math: BlockMath, block: FusedBlock, qkv_BSN: Tensor, cos: Tensor, sin: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Normed and rotated query and key, and the value, each (B, H, S, E)."""
    rows = row_operations(qkv_BSN.device)
    query, key, value = (part.unflatten(-1, (math.num_heads, -1)) for part in qkv_BSN.chunk(3, dim=-1))
    turned = []
    for part, weight in zip((query, key), block.head_norms, strict=True):
        out = torch.empty(part.shape, dtype=part.dtype, device=part.device)
        rows.head_norm_rotate(part, weight, cos, sin, math.eps, out)
        turned.append(out.transpose(1, 2))
    return turned[0], turned[1], value.transpose(1, 2)


def backward_block(
    math: BlockMath, block: FusedBlock, kept: Kept, d_x: Tensor, modulation_B4D: Tensor, cos: Tensor, sin: Tensor
) -> tuple[Tensor, list[Tensor], Tensor]:
    """(d_x, gradients of the block's trained branches, d_modulation (B, 4, D))."""
    rows, eps = row_operations(d_x.device), math.eps
    batch, tokens, _ = d_x.shape
    scale_msa, gate_msa, scale_mlp, gate_mlp = modulation_B4D.unbind(1)
    norm_in, norm_out, norm_up, norm_down = block.norms

    def flat(tensor: Tensor) -> Tensor:
        return tensor.reshape(batch * tokens, -1)

    def unflat(tensor: Tensor) -> Tensor:
        return tensor.unflatten(0, (batch, tokens))

    d_down = block.down.output_space(batch * tokens)
    d_gate_mlp = rows.join_backward(d_x, kept.down, gate_mlp, norm_down, eps, unflat(d_down.dense))
    d_hidden = block.down.backward_input(d_down)
    hidden = torch.empty_like(d_hidden)
    d_up = block.up.output_space(batch * tokens)
    rows.swiglu_backward(unflat(d_hidden), unflat(kept.up), unflat(d_up.dense), unflat(hidden))
    of_down = block.down.gradients(d_down, hidden, kept.h_down)
    d_normed, of_up = _through_norm(rows, math, block.up, d_up, kept.joined, norm_up, scale_mlp, kept.h_up)
    d_joined, d_scale_mlp = rows.norm_scale_backward(unflat(d_normed), d_x, kept.joined, norm_up, scale_mlp, eps)

    d_out = block.out.output_space(batch * tokens)
    d_gate_msa = rows.join_backward(d_joined, kept.out, gate_msa, norm_out, eps, unflat(d_out.dense))
    d_mixed = block.out.backward_input(d_out)
    of_out = block.out.gradients(d_out, flat(kept.attended.mixed.detach().transpose(1, 2)), kept.h_out)
    d_qkv = _attention_backward(math, block, kept, unflat(d_mixed), cos, sin)
    d_normed, of_qkv = _through_norm(rows, math, block.qkv, d_qkv, kept.x, norm_in, scale_msa, kept.h_qkv)
    d_before, d_scale_msa = rows.norm_scale_backward(unflat(d_normed), d_joined, kept.x, norm_in, scale_msa, eps)
    d_modulation = torch.stack((d_scale_msa, d_gate_msa, d_scale_mlp, d_gate_mlp), dim=1)
    return d_before, [*of_qkv, *of_out, *of_up, *of_down], d_modulation


def _through_norm(
    rows: Any, math: BlockMath, linear: FusedLinear, d_y: RowOutput, x: Tensor, weight: Tensor, scale: Tensor, h: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """(gradient of the normed input (R, D), the linear's gradients); the normed input is made again."""
    d_normed = linear.backward_input(d_y)
    if not linear.trained:
        return d_normed, []
    normed = torch.empty_like(x)
    rows.norm_scale(x, weight, scale, math.eps, normed)
    return d_normed, linear.gradients(d_y, normed.flatten(0, 1), h)


def _attention_backward(
    math: BlockMath, block: FusedBlock, kept: Kept, d_mixed_BSD: Tensor, cos: Tensor, sin: Tensor
) -> RowOutput:
    """Gradient of the joint query, key, value, in the first 3 D columns of their output space."""
    rows = row_operations(d_mixed_BSD.device)
    batch, tokens, width = d_mixed_BSD.shape
    split = (math.num_heads, width // math.num_heads)
    d_mixed = d_mixed_BSD.unflatten(-1, split).transpose(1, 2)
    d_heads = kept.attended.backward(d_mixed)
    d_qkv = block.qkv.output_space(batch * tokens)
    joint = d_qkv.dense.unflatten(0, (batch, tokens))
    parts = [part.unflatten(-1, split) for part in joint.chunk(3, dim=-1)]
    before = [part.unflatten(-1, split) for part in kept.qkv.unflatten(0, (batch, tokens)).chunk(3, dim=-1)]
    for part, x, d_head, weight in zip(parts, before, d_heads, block.head_norms, strict=False):
        rows.head_norm_rotate_backward(d_head.transpose(1, 2), x, weight, cos, sin, math.eps, part)
    parts[2].copy_(d_heads[2].transpose(1, 2))
    return d_qkv

"""What stays of a fused block between its passes, level by level (`memory/levels`), and how it is made whole again.

What is made again comes from the same kernels on the same values, so gradients do not depend on the level.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from slipstream.kernels.attended import Attended
from slipstream.kernels.row_output import Normed
from slipstream.memory.levels import Level
from slipstream.models.z_image.fused_block import (
    INTO_ATTENTION,
    INTO_FEED_FORWARD,
    BlockMath,
    FusedBlock,
    Kept,
    enter_block,
    enter_feed_forward,
    heads_of,
    join_attention,
    keep_block,
)


@dataclass(frozen=True)
class Outputs:
    """What attention and the sublayers put out, with the inner values of the branches beside `out` and `down`.

    `inverses` are those of the stream's two norms.
    """

    inverses: tuple[Tensor, Tensor]
    attended: Attended
    h_out: Tensor
    out: Tensor
    h_down: Tensor
    down: Tensor


@dataclass(frozen=True)
class Products:
    """What the products q, k, v and w1, w3 put out, with the inner values of their branches."""

    qkv: Tensor
    h_qkv: Tensor
    h_up: Tensor
    up: Tensor


@dataclass(frozen=True)
class Shelved:
    """A block between its passes; None is made again."""

    x: Tensor
    outputs: Outputs | None = None
    products: Products | None = None
    joined: Tensor | None = None


def shelve(level: Level, kept: Kept) -> Shelved:
    """Let go of what the level does not keep."""
    x = kept.entry.rows
    if level == "input":
        return Shelved(x)
    inverses = (kept.entry.inverse, kept.joined.inverse)
    outputs = Outputs(inverses, kept.attended, kept.h_out, kept.out, kept.h_down, kept.down)
    if level == "everything":
        return Shelved(x, outputs, Products(kept.qkv, kept.h_qkv, kept.h_up, kept.up), kept.joined.rows)
    kept.attended.drop()
    if level == "lean":
        return Shelved(x, outputs, Products(kept.qkv, kept.h_qkv, kept.h_up, kept.up))
    return Shelved(x, outputs)


def unshelve(
    math: BlockMath, block: FusedBlock, shelved: Shelved, factors_B4D: Tensor, cos: Tensor, sin: Tensor
) -> Kept:
    """All that the backward pass needs."""
    x, outputs, products, joined = shelved.x, shelved.outputs, shelved.products, shelved.joined
    if outputs is None:
        return keep_block(math, block, *enter_block(math, block, x, factors_B4D), factors_B4D, cos, sin)
    if joined is None:
        if products is None:
            joined, products = _products(math, block, x, outputs.out, factors_B4D)
        else:
            joined = join_attention(math, x, outputs.out, factors_B4D)
        outputs.attended.restore(heads_of(math, block, products.qkv.unflatten(0, x.shape[:2]), cos, sin))
    elif products is None:
        raise ValueError("a block that keeps its middle keeps its products")
    inverse, joined_inverse = outputs.inverses
    return Kept(
        Normed(x, inverse, factors_B4D[:, INTO_ATTENTION]), products.qkv, products.h_qkv, outputs.attended,
        outputs.h_out, outputs.out, Normed(joined, joined_inverse, factors_B4D[:, INTO_FEED_FORWARD]),
        products.h_up, products.up, outputs.h_down, outputs.down,
    )  # fmt: skip


def _products(
    math: BlockMath, block: FusedBlock, x: Tensor, out: Tensor, factors_B4D: Tensor
) -> tuple[Tensor, Products]:
    """(the stream between the sublayers, both products that read a norm)."""
    joined, space = enter_feed_forward(math, block, x, out, factors_B4D)
    up, h_up = block.up.forward(space)
    _, space = enter_block(math, block, x, factors_B4D)
    return joined.rows, Products(*block.qkv.forward(space), h_up, up)

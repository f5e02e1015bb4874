"""What stays of a fused block between its passes, level by level (`memory/levels`), and how it is made whole again.

What is made again comes from the same kernels on the same values, so gradients do not depend on the level.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from slipstream.kernels.attended import Attended
from slipstream.memory.levels import Level
from slipstream.models.z_image.fused_block import (
    BlockMath,
    FusedBlock,
    Kept,
    heads_of,
    join_attention,
    keep_block,
    qkv_product,
    up_product,
)


@dataclass(frozen=True)
class Outputs:
    """What attention and the sublayers put out, with the inner values of the branches beside `out` and `down`."""

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
    if level == "input":
        return Shelved(kept.x)
    outputs = Outputs(kept.attended, kept.h_out, kept.out, kept.h_down, kept.down)
    if level == "everything":
        return Shelved(kept.x, outputs, Products(kept.qkv, kept.h_qkv, kept.h_up, kept.up), kept.joined)
    kept.attended.drop()
    if level == "lean":
        return Shelved(kept.x, outputs, Products(kept.qkv, kept.h_qkv, kept.h_up, kept.up))
    return Shelved(kept.x, outputs)


def unshelve(
    math: BlockMath, block: FusedBlock, shelved: Shelved, modulation_B4D: Tensor, cos: Tensor, sin: Tensor
) -> Kept:
    """All that the backward pass needs."""
    x, outputs, products, joined = shelved.x, shelved.outputs, shelved.products, shelved.joined
    if outputs is None:
        return keep_block(math, block, x, modulation_B4D, cos, sin)
    if joined is None:
        joined = join_attention(math, block, x, outputs.out, modulation_B4D)
        if products is None:
            up, h_up = up_product(math, block, joined, modulation_B4D)
            products = Products(*qkv_product(math, block, x, modulation_B4D), h_up, up)
        outputs.attended.restore(heads_of(math, block, products.qkv.unflatten(0, x.shape[:2]), cos, sin))
    elif products is None:
        raise ValueError("a block that keeps its middle keeps its products")
    return Kept(
        x, products.qkv, products.h_qkv, outputs.attended, outputs.h_out, outputs.out, joined, products.h_up,
        products.up, outputs.h_down, outputs.down,
    )  # fmt: skip

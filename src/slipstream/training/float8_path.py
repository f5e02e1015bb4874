"""What the fast path needs to multiply float8: which product at which shape, and whether codes are held transposed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from slipstream.kernels.float8 import ChosenFloat8, Product, chosen_float8
from slipstream.models.z_image.fused_block import products_of_block
from slipstream.models.z_image.fused_linear import Beside
from slipstream.precision.linear import QuantizedLinear
from slipstream.training.device import free_bytes

ROWS = (1152, 2432, 4224)
"""Numbers of rows at which products are timed: one picture of 512, 768 and 1024 with a caption of 128."""
TRANSPOSED_RESERVE = 16 * 2**30
"""Bytes that must stay free on a GPU for activations, if the codes are to lie there twice."""


@dataclass(frozen=True)
class Float8Path:
    """How a stack multiplies float8, and lines that say so."""

    chosen: ChosenFloat8
    keep_transposed: bool
    lines: tuple[str, ...]


def is_float8(module: nn.Module) -> bool:
    """Whether a linear is kept in float8."""
    return isinstance(module, QuantizedLinear) and module.scheme.name == "float8"


def float8_path(
    blocks: Sequence[Any], branches: Sequence[Mapping[str, Beside]], device: torch.device, known: Mapping[str, str],
    keep_transposed: bool | None = None,
) -> Float8Path:  # fmt: skip
    """For blocks whose linears are kept in float8.

    `known` are the products that the run has used so far; `keep_transposed` None holds codes transposed where there is
    room.
    """
    packed = [module for block in blocks for module in block.modules() if isinstance(module, QuantizedLinear)]
    chosen = chosen_float8(device, packed[0].dtype, distinct_products(blocks, branches), ROWS, known)
    needed = sum(module.packed["codes"].nbytes for module in packed if not hasattr(module, "computes_on"))
    has_room = device.type != "cuda" or free_bytes(device) - needed >= TRANSPOSED_RESERVE
    keeps = has_room if keep_transposed is None else keep_transposed
    size = f"{needed / 2**30:.1f} GiB"
    transposed = (
        f"float8 codes: held transposed too ({size} more), as the gradient's products read them"
        if keeps
        else f"float8 codes: transposed anew for every gradient (no room to hold the {size} twice)"
    )
    return Float8Path(chosen, keeps, (chosen.line, transposed))


def distinct_products(blocks: Sequence[Any], branches: Sequence[Mapping[str, Beside]]) -> list[Product]:
    """The products of all blocks, each shape once, with the most ranks that it has anywhere."""
    ranks: dict[tuple[int, int], int] = {}
    for block, beside in zip(blocks, branches, strict=True):
        for product in products_of_block(block, beside):
            shape = product.columns, product.inner
            ranks[shape] = max(product.ranks, ranks.get(shape, 0))
    return [Product(*shape, most) for shape, most in ranks.items()]

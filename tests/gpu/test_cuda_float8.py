"""Float8 products on a GPU equal the reference: torch's own, every tile of the Triton kernel, and the chosen ones."""

from __future__ import annotations

import pytest
import torch

from slipstream.kernels.float8 import (
    Product,
    fastest_float8,
    float8_obstacle,
    random_operands,
    reference_multiply,
    scaled_multiply,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() or float8_obstacle(torch.device("cuda")) is not None,
        reason="needs a GPU with float8 tensor cores",
    ),
]
DEVICE = torch.device("cuda", 0)
TOLERANCE = 5e-3
"""bf16 rounds the result by 1.7e-3; Hopper's float8 sums have 14 bits."""


def off(found, expected):
    return float((found.float() - expected).norm() / expected.norm())


@pytest.mark.parametrize("rows", [1152, 1184, 96])
@pytest.mark.parametrize(("ranks", "by_rank"), [(0, False), (64, False), (64, True), (192, True)])
def test_torch_s_product_and_every_tile_equal_the_reference(rows, ranks, by_rank):
    from triton.runtime.errors import OutOfResources

    from slipstream.kernels.float8_triton import CANDIDATES, multiply

    operands = random_operands(DEVICE, Product(3840, 1280, ranks), rows, seed=1)
    if ranks and by_rank:
        operands = (*operands[:-1], operands[-1].T.contiguous().T)
    expected = reference_multiply(*operands, dtype=torch.float32)
    assert off(scaled_multiply(*operands), expected) < TOLERANCE
    fitting = 0
    for tiles in CANDIDATES:
        try:
            found = multiply(tiles, *operands)
        except OutOfResources:  # as in a training, where such tiles take no part
            print(f"{tiles.name}: more shared memory than there is at {ranks} ranks")
            continue
        fitting += 1
        assert off(found, expected) < TOLERANCE, tiles.name
    assert fitting == len(CANDIDATES) or ranks > 64


def test_the_low_rank_rows_may_lie_in_a_wider_buffer():
    """As in a training, where they are the columns right of the dense rows."""
    codes, scale, weight, columns, h, up = random_operands(DEVICE, Product(512, 768, 64), 160, seed=2)
    whole = torch.empty(160, 768 + 64, dtype=torch.bfloat16, device=DEVICE)
    whole[:, 768:] = h
    expected = reference_multiply(codes, scale, weight, columns, h, up, dtype=torch.float32)
    chosen = fastest_float8(DEVICE, [Product(512, 768, 64)], [160])
    assert off(chosen.multiply(codes, scale, weight, columns, whole[:, 768:], up), expected) < TOLERANCE
    assert "TFLOP/s" in chosen.line

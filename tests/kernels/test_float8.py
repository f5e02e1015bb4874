"""Float8 products: what the reference computes, that the Triton kernel computes the same, where float8 is refused.

The kernel runs here under Triton's interpreter where that is on (TRITON_INTERPRET=1), else in tests/gpu.
"""

from __future__ import annotations

import os

import pytest
import torch

from slipstream.kernels.float8 import (
    Product,
    float8_obstacle,
    random_operands,
    reference_multiply,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("ranks", [0, 64])
def test_the_reference_is_the_product_of_the_dequantized_operands(ranks):
    codes, scale, weight, columns, h, up = random_operands(CPU, Product(48, 96, ranks), 10, seed=2)
    found = reference_multiply(codes, scale, weight, columns, h, up, dtype=torch.float32)
    expected = (codes.double() * scale) @ (weight.double() * columns[:, None]).T
    if ranks:
        expected += h.double() @ up.double().T
    assert torch.allclose(found.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="needs Triton's interpreter")
@pytest.mark.parametrize("ranks", [0, 64, 128])
@pytest.mark.parametrize(("persistent", "by_rank"), [(False, False), (True, True)])
def test_the_triton_kernel_equals_the_reference(ranks, persistent, by_rank):
    from slipstream.kernels.float8_triton import Tiles, multiply

    *operands, h, up = random_operands(CPU, Product(160, 208, ranks), 96, seed=3)
    operands += [h.half(), up.half()] if ranks else [None, None]  # the interpreter multiplies no bf16
    if ranks and by_rank:
        operands[-1] = operands[-1].T.contiguous().T
    found = multiply(Tiles(64, 64, 64, 1, 4, persistent=persistent, group=2), *operands)
    expected = reference_multiply(*operands, dtype=torch.float32)
    assert (found.float() - expected).norm() < 5e-3 * expected.norm()


def test_a_cpu_has_no_float8_tensor_cores():
    assert float8_obstacle(CPU) == "cpu has no float8 tensor cores"

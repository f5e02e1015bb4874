"""Float8 linears of one input as one: what they compute, their branches' gradients, and the modules beside them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from slipstream.kernels.copies import CopyTable
from slipstream.kernels.float8 import Product, reference_multiply
from slipstream.kernels.row_output import RowOutput
from slipstream.kernels.rows_torch import write
from slipstream.models.z_image.fused_linear import FusedLinear
from slipstream.models.z_image.fused_linear8 import FusedLinear8, joint_linear, products_of
from slipstream.precision.linear import QuantizedLinear
from slipstream.precision.schemes import SCHEMES

INPUTS, OUTPUTS, ROWS = 96, (48, 32, 48), 20
MULTIPLY = partial(reference_multiply, dtype=torch.float32)


@dataclass
class Side:
    """A branch."""

    a: nn.Parameter
    b: nn.Parameter
    scale: float = 2.0
    enabled: bool = True


def randoms(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def side(outputs: int, rank: int, seed: int, *, trained: bool = True) -> Side:
    a, b = randoms(rank, INPUTS, seed=seed) * INPUTS**-0.5, randoms(outputs, rank, seed=seed + 1) * 0.1
    return Side(nn.Parameter(a, requires_grad=trained), nn.Parameter(b, requires_grad=trained))


class Case:
    """Three linears in float8 and dequantized; the first with two branches, of which one is frozen, the last bare."""

    def __init__(self, *, keep_transposed: bool = True) -> None:
        weights = [randoms(outputs, INPUTS, seed=number) * 0.1 for number, outputs in enumerate(OUTPUTS)]
        self.packed = [QuantizedLinear.of(weight, SCHEMES["float8"], torch.float32) for weight in weights]
        self.weight = torch.cat([linear.dense_weight() for linear in self.packed])
        dense = [nn.Linear(INPUTS, outputs, bias=False) for outputs in OUTPUTS]
        for linear, packed in zip(dense, self.packed, strict=True):
            linear.weight = nn.Parameter(packed.dense_weight())
        self.branches = [
            {"frozen": side(OUTPUTS[0], 4, 10, trained=False), "lora": side(OUTPUTS[0], 8, 12)},
            {"lora": side(OUTPUTS[1], 8, 14)}, {},
        ]  # fmt: skip
        self.float8 = FusedLinear8(self.packed, self.branches, MULTIPLY, keep_transposed=keep_transposed)
        self.dense = FusedLinear(dense, self.branches)
        self.x, self.d_y = randoms(ROWS, INPUTS, seed=20), randoms(ROWS, sum(OUTPUTS), seed=21)

    def both_ways(self, linear: FusedLinear | FusedLinear8) -> tuple[Tensor, Tensor, list[Tensor]]:
        """(y, d_x, gradients)."""
        CopyTable(lasting=False).run(linear.copies())
        space = linear.input_space(ROWS)
        write(self.x, space)
        y, h = linear.forward(space)
        space = linear.output_space(ROWS)
        write(self.d_y, space)
        d_x = linear.backward_input(space)
        return y, d_x, linear.gradients(space, self.x, h)


def off(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("keep_transposed", [True, False])
def test_passes_and_gradients_are_near_those_of_the_dequantized_linears(keep_transposed):
    case = Case(keep_transposed=keep_transposed)
    y, d_x, gradients = case.both_ways(case.float8)
    expected_y, expected_d_x, expected_gradients = case.both_ways(case.dense)
    assert 1e-3 < off(y, expected_y) < 0.04
    assert 1e-3 < off(d_x, expected_d_x) < 0.04
    assert len(gradients) == len(expected_gradients) == 4
    assert all(off(a, b) < 1e-5 for a, b in zip(gradients, expected_gradients, strict=True))


def test_only_what_meets_the_frozen_weights_is_rounded():
    """Both passes multiply the same codes, and the low-rank parts come from unrounded rows."""
    case = Case()
    y, d_x, _ = case.both_ways(case.float8)
    sides = [(side, number) for number, beside in enumerate(case.branches) for side in beside.values()]
    starts = [0, OUTPUTS[0], OUTPUTS[0] + OUTPUTS[1]]
    x8 = rounded(case.x, None)
    expected_y, expected_d_x = x8 @ case.weight.T, rounded(case.d_y, case.float8.columns) @ case.float8.codes.float()
    for side_, number in sides:
        rows = slice(starts[number], starts[number] + OUTPUTS[number])
        up = side_.b.detach() * side_.scale
        expected_y[:, rows] += case.x @ side_.a.detach().T @ up.T
        expected_d_x += case.d_y[:, rows] @ up @ side_.a.detach()
    assert off(y, expected_y) < 1e-5
    assert off(d_x, expected_d_x) < 1e-5


def rounded(values: Tensor, columns: Tensor | None) -> Tensor:
    space = RowOutput(values, values.clone(), torch.empty(values.shape, dtype=torch.float8_e4m3fn),
                      torch.empty(len(values), 1), columns)  # fmt: skip
    write(values, space)
    return space.codes.float() * space.scale


def test_switches_and_new_values_are_taken_over():
    case = Case()
    case.branches[0]["lora"].enabled = False
    with torch.no_grad():
        case.branches[1]["lora"].b.mul_(3.0)
    y, _, gradients = case.both_ways(case.float8)
    expected, _, expected_gradients = case.both_ways(case.dense)
    assert off(y, expected) < 0.04
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(gradients, expected_gradients, strict=True))
    assert not gradients[0].any()


def test_the_modules_are_views_and_compute_as_before():
    case = Case()
    before = [QuantizedLinear.of(w, SCHEMES["float8"], torch.float32)(case.x) for w in case.weight.split(OUTPUTS)]
    assert case.packed[0].codes.data_ptr() == case.float8.codes.data_ptr()
    assert all(torch.allclose(linear(case.x), y, atol=1e-5) for linear, y in zip(case.packed, before, strict=True))
    with torch.no_grad():
        case.float8.codes.zero_()
    assert not any(linear(case.x).any() for linear in case.packed)


def test_linears_without_branches_have_no_low_rank_part():
    packed = [QuantizedLinear.of(randoms(48, INPUTS, seed=1), SCHEMES["float8"], torch.float32)]
    linear = FusedLinear8(packed, [{}], MULTIPLY)
    space = linear.input_space(ROWS)
    assert space.whole.shape == (ROWS, INPUTS)
    write(randoms(ROWS, INPUTS, seed=2), space)
    y, h = linear.forward(space)
    assert off(y, packed[0](space.dense)) < 0.04
    assert h.shape == (ROWS, 0)
    assert linear.gradients(linear.output_space(ROWS), space.dense, h) == []


def test_a_group_is_float8_or_dense_as_its_linears_are():
    case = Case()
    assert isinstance(joint_linear(case.packed, case.branches, MULTIPLY), FusedLinear8)
    dense = nn.Linear(INPUTS, 48, bias=False)
    assert isinstance(joint_linear([dense], [{}], MULTIPLY), FusedLinear)
    with pytest.raises(TypeError, match="all dense, or all float8"):
        joint_linear([case.packed[0], dense], [{}, {}], MULTIPLY)
    with pytest.raises(TypeError, match="all dense, or all float8"):
        joint_linear(case.packed, case.branches, None)


def test_products_are_known_beforehand():
    case = Case()
    assert products_of(case.packed, case.branches) == [Product(128, 96, 64), Product(96, 128, 64)]

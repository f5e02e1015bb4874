"""The blocks as one function over float8 weights: the modules' computation, with float8 rows at every product."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from tests.models.test_stack import Case
from torch import Tensor, nn

from slipstream.kernels.attention import plain_attention
from slipstream.kernels.float8 import reference_multiply
from slipstream.kernels.row_output import RowOutput
from slipstream.kernels.rows_torch import write
from slipstream.models.z_image.fused_block import DOWN, OUT, QKV, UP, products_of_block
from slipstream.models.z_image.stack import BlockStack
from slipstream.precision.linear import QuantizedLinear
from slipstream.precision.schemes import FLOAT8, SCHEMES
from slipstream.training.fast_path import branches_of

MULTIPLY = partial(reference_multiply, dtype=torch.float32)
NAMES = (*QKV, *OUT, *UP, *DOWN)


class Rounding(QuantizedLinear):
    """The same linear as a module whose inputs and gradients are rounded to float8, row by row."""

    def forward(self, x: Tensor) -> Tensor:
        return _Rounded.apply(x, self.codes.float(), self.scale.flatten().float())


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(codes, scale)
        return rounded(x) @ codes.T * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        codes, scale = ctx.saved_tensors
        return rounded(gradients[0] * scale) @ codes, None, None


def rounded(rows: Tensor) -> Tensor:
    flat = rows.flatten(0, -2)
    space = RowOutput(flat, flat.clone(), torch.empty(flat.shape, dtype=FLOAT8), torch.empty(len(flat), 1))
    write(flat, space)
    return (space.codes.float() * space.scale).view_as(rows)


def float8(transformer: nn.Module, kind: type[QuantizedLinear]) -> nn.Module:
    """The transformer with its blocks' linears in float8."""
    for block in transformer.layers:
        for name in NAMES:
            weight = block.get_submodule(name).weight
            block.set_submodule(name, kind.of(weight, SCHEMES["float8"], torch.float32))
    return transformer


def stack_of(case: Case) -> BlockStack:
    return BlockStack(case.blocks, [branches_of(b) for b in case.blocks], plain_attention, multiply=MULTIPLY)


def off(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("batch", [1, 2])
def test_one_block_s_outputs_and_gradients_are_those_of_modules_that_round(fresh_transformer, batch):
    """One block: a sum in another order may round a number to the next code, and every block makes that larger."""
    case = Case(float8(fresh_transformer, Rounding), batch)
    case.transformer.layers = case.transformer.layers[:1]
    beside = {name: branch for name, own in branches_of(case.blocks[0]).items() for branch in own.values()
              if branch.a.requires_grad}  # fmt: skip
    case.parts = [case.x, *(part for branch in beside.values() for part in (branch.a, branch.b))]
    expected, gradients = case.by_modules()
    found, own = case.by_stack(stack_of(case))
    assert off(found, expected) < 1e-3
    differences = [off(a, b) for a, b in zip(own, gradients, strict=True)]
    by_name = {name: differences[1 + 2 * place : 3 + 2 * place] for place, name in enumerate(beside)}
    assert len(by_name) == 7
    assert max(max(by_name[name]) for name in (*UP, *DOWN)) < 5e-3
    # further back the gradients of joint linears share a scale for each row; a module has one of its own
    assert max(differences) < 0.15


def test_rounding_rows_costs_a_few_percent_and_the_modules_stay_exact(fresh_transformer):
    case = Case(float8(fresh_transformer, QuantizedLinear), 1)
    expected, _ = case.by_modules()
    found, _ = case.by_stack(stack_of(case))
    assert 1e-3 < off(found, expected) < 0.15
    again, _ = case.by_modules()
    assert off(again, expected) < 1e-6


def test_a_block_has_eight_products(fresh_transformer):
    block = Case(float8(fresh_transformer, QuantizedLinear), 1).blocks[0]
    shapes = [(product.columns, product.inner) for product in products_of_block(block, branches_of(block))]
    forward, backward = shapes[::2], shapes[1::2]
    assert forward == [(576, 192), (192, 192), (1024, 192), (192, 512)]
    assert backward == [(inner, columns) for columns, inner in forward]

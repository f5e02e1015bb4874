"""Every kind beside a packed linear is what it is beside a plain one that holds the unpacked weight."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slipstream.adapters.inject import inject_fresh
from slipstream.adapters.kinds import Recipe
from slipstream.precision.linear import QuantizedLinear
from slipstream.precision.schemes import SCHEMES

RECIPES = [
    Recipe("lora", 4, 8.0), Recipe("lora", 4, 8.0, init="pissa"), Recipe("dora", 4, 4.0), Recipe("lokr", 4, 8.0),
    Recipe("loha", 4, 4.0), Recipe("oft", 8, 0.0),
]  # fmt: skip


@pytest.mark.parametrize("scheme", ["float8", "int8"])
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: f"{recipe.kind} {recipe.init}")
def test_output_and_gradients_are_those_on_the_unpacked_weight(recipe, scheme):
    torch.manual_seed(0)
    weight, bias, x = torch.randn(64, 128) / 8, torch.randn(64), torch.randn(3, 5, 128)
    packed = QuantizedLinear.of(weight, SCHEMES[scheme], torch.float32, bias)
    plain = nn.Linear(128, 64)
    plain.weight.data, plain.bias.data = packed.dense_weight(), bias
    outputs, gradients = [], []
    for base in (packed, plain):
        model = nn.Sequential(base)
        before = model(x)
        branches = inject_fresh(model, ["0"], recipe, seed=1)
        assert torch.equal(model(x), before)
        for index, parameter in enumerate(branches.parameters()):
            parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)) * 0.1
        inputs = x.clone().requires_grad_()
        out = model(inputs)
        out.square().sum().backward()
        outputs.append(out)
        gradients.append([inputs.grad, *(parameter.grad for parameter in branches.parameters())])
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-4)
    for got, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-2)

"""A quantized linear is the linear of its dense weight, forward and backward, and keeps no dense weight."""

from __future__ import annotations

import weakref
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slipstream.adapters.inject import inject_lora, linears_of
from slipstream.precision.checkpointing import block_runner
from slipstream.precision.linear import QuantizedLinear
from slipstream.precision.schemes import SCHEMES

NAMES = tuple(SCHEMES)
IN, OUT = 96, 40


def quantized(name: str, dtype: torch.dtype = torch.float32, *, bias: bool = True) -> QuantizedLinear:
    torch.manual_seed(1)
    linear = nn.Linear(IN, OUT, bias=bias)
    return QuantizedLinear.of(linear.weight, SCHEMES[name], dtype, linear.bias)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(IN,), (5, IN), (2, 3, IN)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_the_dense_weight(name, shape, bias):
    layer = quantized(name, bias=bias)
    x, y = (torch.randn(shape, generator=torch.Generator().manual_seed(2)).requires_grad_() for _ in range(2))
    got, wanted = layer(x), F.linear(y, layer.dense_weight(), layer.bias)
    torch.testing.assert_close(got, wanted)
    got.square().sum().backward()
    wanted.square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


@pytest.mark.parametrize("name", NAMES)
def test_bf16_stays_bf16(name):
    layer = quantized(name, torch.bfloat16)
    x = torch.randn(4, IN, dtype=torch.bfloat16, requires_grad=True)
    layer(x).sum().backward()
    assert layer(x).dtype == x.grad.dtype == layer.dense_weight().dtype == layer.bias.dtype == torch.bfloat16


@pytest.mark.parametrize("name", NAMES)
def test_nothing_dense_is_kept_for_the_backward_pass(name):
    layer = quantized(name)
    saved: list[torch.Tensor] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor)
        return tensor

    x = torch.randn(4, IN, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        layer(x)
    own = {tensor.data_ptr() for tensor in layer.packed.values()}
    assert {tensor.data_ptr() for tensor in saved} == own
    assert sum(tensor.nbytes for tensor in saved) < IN * OUT * 4 / 2


@pytest.mark.parametrize("name", NAMES)
def test_the_dense_weight_dies_after_use(name, monkeypatch):
    made: list[weakref.ref[torch.Tensor]] = []

    def unpack(*arguments) -> torch.Tensor:
        dense = SCHEMES[name].unpack(*arguments)
        made.append(weakref.ref(dense))
        return dense

    layer = quantized(name)
    monkeypatch.setattr("slipstream.precision.linear.SCHEMES", {name: replace(SCHEMES[name], unpack=unpack)})
    out = layer(torch.randn(4, IN, requires_grad=True))
    assert [dense() for dense in made] == [None]
    out.sum().backward()
    assert [dense() for dense in made] == [None, None]


def test_it_has_no_parameters_and_moves_with_its_model():
    layer = quantized("nf4")
    assert not list(layer.parameters())
    assert set(layer.state_dict()) == {"codes", "scale", "bias"}
    assert layer.num_bytes == IN * OUT // 2 + 2 * IN * OUT // 64
    assert layer.to("meta").device.type == "meta"
    assert "nf4" in repr(layer)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["none", "full"])
def test_a_lora_beside_it_learns(name, mode):
    """Gradients of a LoRA over two quantized linears equal those over linears with the same dense weights."""

    def stack(make) -> nn.Sequential:
        torch.manual_seed(1)
        return nn.Sequential(make(nn.Linear(IN, OUT)), nn.SiLU(), make(nn.Linear(OUT, IN)))

    def pack(linear: nn.Linear) -> QuantizedLinear:
        return QuantizedLinear.of(linear.weight, SCHEMES[name], torch.float32, linear.bias)

    def same_dense(linear: nn.Linear) -> nn.Linear:
        linear.weight.data = pack(linear).dense_weight()
        return linear

    gradients = []
    for make in (pack, same_dense):
        model = stack(make)
        assert set(linears_of(model)) == {"0", "2"}
        lora = inject_lora(model, ["0", "2"], rank=2, alpha=2.0, seed=5)
        for number, parameter in enumerate(lora.parameters()):
            nn.init.normal_(parameter.data, generator=torch.Generator().manual_seed(number))
        x = torch.randn(6, IN, generator=torch.Generator().manual_seed(3))
        block_runner(mode)(model, x).square().mean().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in lora.parameters()]))
    torch.testing.assert_close(*gradients)

"""Quantized weights and checkpointing on CUDA: the same as on the CPU, and in the memory they promise."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slipstream.adapters.inject import inject_lora, select_targets
from slipstream.models.z_image.family import predictor
from slipstream.models.z_image.loading import load_transformer
from slipstream.models.z_image.resolve import TINY_ROOT
from slipstream.precision.checkpointing import block_runner, run_directly
from slipstream.precision.linear import QuantizedLinear
from slipstream.precision.placing import Placement, place_weights
from slipstream.precision.schemes import SCHEMES

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]

CUDA = torch.device("cuda")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", SCHEMES)
def test_a_weight_is_packed_and_unpacked_as_on_the_cpu(name):
    scheme, weight = SCHEMES[name], normal(384, 256)
    here, there = scheme.pack(weight), scheme.pack(weight.to(CUDA))
    for key, tensor in here.items():
        assert torch.equal(tensor.view(torch.uint8), there[key].cpu().view(torch.uint8)), key
    for dtype in (torch.float32, torch.bfloat16):
        dense = scheme.unpack(there, (384, 256), dtype)
        assert torch.equal(dense.cpu(), scheme.unpack(here, (384, 256), dtype))


@pytest.mark.parametrize("name", SCHEMES)
def test_values_and_gradients_are_those_of_the_dense_weight(name):
    layer = QuantizedLinear.of(normal(384, 256).to(CUDA), SCHEMES[name], torch.bfloat16)
    x, y = (normal(5, 256, seed=1).to(CUDA, torch.bfloat16).requires_grad_() for _ in range(2))
    layer(x).sum().backward()
    F.linear(y, layer.dense_weight()).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


@pytest.mark.parametrize("scheme", [None, *SCHEMES])
def test_gradients_with_and_without_checkpointing(tiny, scheme):
    transformer = load_transformer(TINY_ROOT / "turbo/transformer", CUDA, torch.bfloat16, scheme)
    names = select_targets(transformer, "layers", ("to_q", "w2"))
    lora = inject_lora(transformer, names, rank=4, alpha=4.0, seed=1)
    for number, parameter in enumerate(lora.parameters()):
        nn.init.normal_(parameter.data, std=0.02, generator=torch.Generator(CUDA).manual_seed(number))

    def gradients(run) -> torch.Tensor:
        for parameter in lora.parameters():
            parameter.grad = None
        noisy, sigma = normal(1, 16, 16, 16).to(CUDA), torch.tensor([0.5], device=CUDA)
        predictor(transformer, run)(noisy, sigma, [tiny.features("a noto emoji of cat")]).square().mean().backward()
        return torch.cat([parameter.grad.flatten() for parameter in lora.parameters()])

    torch.testing.assert_close(gradients(run_directly), gradients(block_runner("full")), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_quantized_model_is_never_dense_on_the_device(scheme):
    with torch.device("meta"):
        model = nn.ModuleList([nn.Linear(1024, 1024, bias=False) for _ in range(32)])
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    weights = ((f"{number}.weight", normal(1024, 1024, seed=number).bfloat16()) for number in range(32))
    place_weights(model, weights, Placement(CUDA, torch.bfloat16, scheme))
    dense = 1024 * 1024 * 2
    kept = sum(layer.num_bytes for layer in model)
    assert torch.cuda.memory_allocated() - before <= 1.05 * kept
    assert torch.cuda.max_memory_allocated() - before <= kept + 12 * dense, "32 dense weights would be 64 MiB"

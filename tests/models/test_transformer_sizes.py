"""Sizes from a config alone equal those of the model that diffusers builds from it."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from slipstream.core.quiet import quiet_imports
from slipstream.models.z_image.loading import may_be_quantized
from slipstream.models.z_image.resolve import TINY_ROOT
from slipstream.models.z_image.sizes import linear_shape, model_sizes

TINY = json.loads((TINY_ROOT / "turbo/transformer/config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("config", [{}, TINY], ids=["real", "tiny"])
def test_parameters_and_shapes(config):
    with quiet_imports():
        from diffusers import ZImageTransformer2DModel
    with torch.device("meta"):
        model = ZImageTransformer2DModel.from_config(dict(config))
    sizes = model_sizes(config)
    assert sizes.parameters == sum(parameter.numel() for parameter in model.parameters())
    linears = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert sizes.packable == sum(linears[name].weight.numel() for name in linears if may_be_quantized(name))
    assert sizes.num_blocks == len(model.layers)
    for name, linear in linears.items():
        if name.startswith(("layers.", "noise_refiner.", "context_refiner.")):
            assert linear_shape(name, sizes.widths) == (linear.out_features, linear.in_features)

"""Bytes of a block's activations, counted on the tensors themselves."""

from __future__ import annotations

import pytest
import torch
from tests.models.test_keeping import kept_bytes
from tests.models.test_stack import Case
from torch.autograd.graph import saved_tensors_hooks

from slipstream.adapters.inject import inject_lora, select_targets
from slipstream.config.target import TARGET_MODULES
from slipstream.memory.blocks import fused_block_bytes, module_block_bytes
from slipstream.memory.levels import LEVELS
from slipstream.models.z_image.forward import modulated_block
from slipstream.models.z_image.layout import RopeSpec, build_layout
from slipstream.models.z_image.sizes import block_widths

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_what_autograd_keeps_of_a_block_of_modules(fresh_transformer, dtype):
    transformer = fresh_transformer.to(dtype)
    names = select_targets(transformer, "layers", TARGET_MODULES)
    inject_lora(transformer, names, rank=4, alpha=4.0, seed=1)
    layout = build_layout(RopeSpec.of(transformer), (32,), 16, 16, CPU)
    tokens = layout.joint.cos.shape[1]
    block = transformer.layers[0]
    x = torch.randn(1, tokens, 192, dtype=dtype).requires_grad_()
    time = torch.randn(1, block.adaLN_modulation[0].base.in_features, dtype=dtype)
    known = {tensor.untyped_storage().data_ptr() for tensor in (*transformer.parameters(), layout.joint.cos)}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known and tensor.numel() >= tokens:  # not what is there once a batch
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        out = modulated_block(block, x, time, layout.joint, None)
    expected = module_block_bytes(block_widths(transformer.config), dtype.itemsize).everything
    assert out.requires_grad
    assert sum(kept.values()) / tokens == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("level", LEVELS)
def test_what_a_fused_block_keeps(fresh_transformer, level):
    case = Case(fresh_transformer, 1)
    expected = fused_block_bytes(block_widths(fresh_transformer.config), rank=4, element=4).kept[level]
    assert kept_bytes(level, case) / case.x.shape[1] == pytest.approx(expected, rel=0.03)

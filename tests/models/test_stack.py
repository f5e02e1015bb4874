"""The blocks as one function with a backward pass by hand: equal to the modules, branches and all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.inject import inject_lora, select_targets
from slipstream.adapters.training_adapter import attach_training_adapter
from slipstream.kernels.attention import plain_attention
from slipstream.models.z_image.forward import modulated_block
from slipstream.models.z_image.layout import RopeSpec, StreamLayout, build_layout
from slipstream.models.z_image.resolve import TINY_ROOT
from slipstream.models.z_image.stack import BlockStack
from slipstream.training.fast_path import branches_of, fast_path

CPU = torch.device("cpu")
TARGETS = ("to_q", "to_v", "to_out.0", "w1", "w2", "w3", "adaLN_modulation.0")
"""Without to_k: a linear of a fused group may have no trained branch."""


class Case:
    """The tiny transformer with a training adapter and a LoRA off its start, and an input for its blocks."""

    def __init__(self, transformer: nn.Module, batch: int) -> None:
        self.transformer = transformer
        time_width = transformer.layers[0].adaLN_modulation[0].in_features
        attach_training_adapter(transformer, TINY_ROOT / "adapters" / "training_adapter_v2.safetensors")
        names = select_targets(transformer, "layers", TARGETS)
        self.lora: BranchSet = inject_lora(transformer, names, rank=4, alpha=8.0, seed=1)
        generator = torch.Generator().manual_seed(2)
        for parameter in self.lora.parameters():
            nn.init.normal_(parameter, std=0.05, generator=generator)
        self.layout: StreamLayout = build_layout(RopeSpec.of(transformer), (32,) * batch, 6, 8, CPU)
        tokens = self.layout.joint.cos.shape[1]
        self.x = torch.randn(batch, tokens, 192, generator=generator).requires_grad_()
        self.time = torch.randn(batch, time_width, generator=generator)
        self.gradient = torch.randn(batch, tokens, 192, generator=generator)

    @property
    def blocks(self) -> list[nn.Module]:
        return list(self.transformer.layers)

    def by_modules(self) -> tuple[Tensor, list[Tensor]]:
        stream = self.x
        for block in self.blocks:
            stream = modulated_block(block, stream, self.time, self.layout.joint, None)
        return stream.detach(), self._gradients(stream)

    def by_stack(self, stack: BlockStack) -> tuple[Tensor, list[Tensor]]:
        stream = stack(self.x, self.time, self.layout.joint)
        return stream.detach(), self._gradients(stream)

    def _gradients(self, stream: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(stream, [self.x, *self.lora.parameters()], self.gradient))


def agree(found: list[Tensor], expected: list[Tensor], tolerance: float) -> bool:
    return all(
        (a - b).abs().max() <= tolerance * b.abs().max().clamp(min=1e-6) for a, b in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("batch", [1, 2])
def test_outputs_and_gradients_equal_the_modules(fresh_transformer, batch):
    case = Case(fresh_transformer, batch)
    expected, gradients = case.by_modules()
    stack = BlockStack(case.blocks, [branches_of(b) for b in case.blocks], plain_attention)
    found, own = case.by_stack(stack)
    assert agree([found], [expected], 1e-5)
    assert agree(own, gradients, 1e-4)
    # the modules see the same weights afterwards, as views
    again, _ = case.by_modules()
    assert agree([again], [expected], 1e-6)


def test_what_nobody_asks_for_changes_nothing(fresh_transformer):
    case = Case(fresh_transformer, 2)
    stack = BlockStack(case.blocks, [branches_of(b) for b in case.blocks], plain_attention)
    names = [name for name, _ in case.lora.named_parameters()]
    _, expected = case.by_stack(stack)
    modulation = {index for index, name in enumerate(names) if "adaLN" in name}
    assert modulation
    for index, parameter in enumerate(case.lora.parameters()):
        parameter.requires_grad_(index not in modulation)
    asked = [part for part in case.lora.parameters() if part.requires_grad]
    stream = stack(case.x.detach(), case.time, case.layout.joint)
    found = torch.autograd.grad(stream, asked, case.gradient)
    assert all(
        torch.equal(a, b)
        for a, b in zip(found, [e for i, e in enumerate(expected[1:]) if i not in modulation], strict=True)
    )


def test_it_takes_over_new_values_and_switches(fresh_transformer):
    case = Case(fresh_transformer, 1)
    stack = BlockStack(case.blocks, [branches_of(b) for b in case.blocks], plain_attention)
    case.by_stack(stack)
    with torch.no_grad():
        for parameter in case.lora.parameters():
            parameter.mul_(1.5)
    expected, gradients = case.by_modules()
    found, own = case.by_stack(stack)
    assert agree([found], [expected], 1e-5)
    assert agree(own, gradients, 1e-4)
    with case.lora.disabled():
        expected, _ = without_lora(case)
        found = stack(case.x, case.time, case.layout.joint).detach()
    assert agree([found], [expected], 1e-5)


def without_lora(case: Case) -> tuple[Tensor, None]:
    with torch.no_grad():
        stream = case.x
        for block in case.blocks:
            stream = modulated_block(block, stream, case.time, case.layout.joint, None)
    return stream, None


def test_the_cpu_trains_module_by_module_and_says_so(fresh_transformer):
    stack, line = fast_path(fresh_transformer, CPU, keep_inputs=False)
    assert stack is None
    assert "CUDA" in line

"""The blocks as one function with a backward pass by hand: equal to the modules, branches and all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.folding import FoldedBranches, dense_hosts
from slipstream.adapters.inject import inject_lora, select_targets
from slipstream.adapters.training_adapter import attach_training_adapter
from slipstream.kernels.attention import plain_attention
from slipstream.models.z_image.family import predictor
from slipstream.models.z_image.fast_predictor import FastPredictor
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
        adapter = attach_training_adapter(transformer, TINY_ROOT / "adapters" / "training_adapter_v2.safetensors")
        assert adapter.branches is not None
        self.adapter: BranchSet = adapter.branches
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
        self.parts = [self.x, *self.lora.parameters()]

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
        return list(torch.autograd.grad(stream, self.parts, self.gradient))


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


def test_a_folded_adapter_and_modulation_at_once_are_the_same(fresh_transformer):
    case = Case(fresh_transformer, 2)
    expected, gradients = case.by_modules()
    FoldedBranches(case.adapter, dense_hosts(case.adapter), CPU)
    stack = BlockStack(case.blocks, [branches_of(b) for b in case.blocks], plain_attention)
    assert stack.fits_graphs, "one branch is left beside each adaLN: all blocks' at once"
    found, own = case.by_stack(stack)
    assert agree([found], [expected], 1e-5)
    assert agree(own, gradients, 1e-4)
    with torch.no_grad():
        stack.refresh()
        assert agree([stack(case.x, case.time, case.layout.joint)], [expected], 1e-5)


def test_a_prediction_without_the_lora_in_between_leaves_the_gradients_as_they_were(fresh_transformer):
    case = Case(fresh_transformer, 1)
    stack = BlockStack(case.blocks, [branches_of(b) for b in case.blocks], plain_attention)
    _, expected = case.by_stack(stack)
    stream = stack(case.x, case.time, case.layout.joint)
    with torch.no_grad(), case.lora.disabled():
        stack.refresh()
        plain, _ = without_lora(case)
        assert agree([stack(case.x, case.time, case.layout.joint)], [plain], 1e-5)
    assert all(torch.equal(a, b) for a, b in zip(case._gradients(stream), expected, strict=True))


@pytest.mark.parametrize("lengths", [(20, 20), (20, 60), (100, 20)], ids=str)
def test_the_fast_predictor_equals_the_plain_one(fresh_transformer, lengths):
    case = Case(fresh_transformer, 2)
    generator = torch.Generator().manual_seed(5)
    noisy = torch.randn(2, 16, 8, 12, generator=generator)
    sigma = torch.tensor([0.2, 0.9])
    width = fresh_transformer.cap_embedder[0].weight.shape[0]
    texts = [torch.randn(length, width, generator=generator) for length in lengths]

    def both(predict) -> tuple[Tensor, list[Tensor], Tensor]:
        velocity = predict(noisy, sigma, texts)
        gradients = torch.autograd.grad(velocity.square().sum(), case.lora.parameters())
        with torch.no_grad(), case.lora.disabled():
            return velocity.detach(), list(gradients), predict(noisy, sigma, texts)

    velocity, gradients, plain = both(predictor(fresh_transformer))
    stacks = [
        BlockStack(blocks, [branches_of(block) for block in blocks], plain_attention)
        for blocks in (list(fresh_transformer.noise_refiner), case.blocks)
    ]
    found = both(FastPredictor(fresh_transformer, *stacks, None))
    assert agree([found[0], found[2]], [velocity, plain], 1e-5)
    assert agree(found[1], gradients, 1e-4)


def without_lora(case: Case) -> tuple[Tensor, None]:
    with torch.no_grad():
        stream = case.x
        for block in case.blocks:
            stream = modulated_block(block, stream, case.time, case.layout.joint, None)
    return stream, None


@pytest.mark.parametrize("lengths", [(20, 20), (20, 60)], ids=str)
def test_a_lora_on_the_captions_branch_is_trained_and_switched(fresh_transformer, lengths):
    targets = select_targets(fresh_transformer, ("layers", "context_refiner"), ("to_q", "w2"))
    lora = inject_lora(fresh_transformer, targets, rank=4, alpha=8.0, seed=1)
    generator = torch.Generator().manual_seed(5)
    for parameter in lora.parameters():
        nn.init.normal_(parameter, std=0.05, generator=generator)
    noisy, sigma = torch.randn(2, 16, 8, 12, generator=generator), torch.tensor([0.2, 0.9])
    width = fresh_transformer.cap_embedder[0].weight.shape[0]
    texts = [torch.randn(length, width, generator=generator) for length in lengths]

    def both(predict) -> tuple[list[Tensor], list[Tensor]]:
        velocity = predict(noisy, sigma, texts)
        gradients = torch.autograd.grad(velocity.square().sum(), lora.parameters())
        with torch.no_grad(), lora.disabled():
            return [velocity.detach(), predict(noisy, sigma, texts)], list(gradients)

    expected, gradients = both(predictor(fresh_transformer))
    stacks = [
        BlockStack(blocks, [branches_of(block) for block in blocks], plain_attention)
        for blocks in (list(fresh_transformer.noise_refiner), list(fresh_transformer.layers))
    ]
    found, own = both(FastPredictor(fresh_transformer, *stacks, None, keep_contexts=False))
    assert agree(found, expected, 1e-5)
    assert agree(own, gradients, 1e-4)


def test_the_cpu_trains_module_by_module_and_says_so(fresh_transformer):
    names = select_targets(fresh_transformer, "layers", TARGETS)
    lora = inject_lora(fresh_transformer, names, rank=4, alpha=8.0, seed=1)
    path, lines = fast_path(fresh_transformer, lora, CPU)
    assert path is None
    assert "CUDA" in lines[0]

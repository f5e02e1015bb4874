"""Checkpointing gives the same gradients, runs each block twice, and stays out of previews."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn

from slipstream.adapters.inject import inject_lora, select_targets
from slipstream.models.z_image import forward
from slipstream.models.z_image.family import predictor
from slipstream.precision.checkpointing import block_runner, run_directly, selective_runner

SIZE = (2, 16, 8, 8)


@pytest.fixture
def lora(fresh_transformer):
    names = select_targets(fresh_transformer, "layers", ("to_q", "w2", "adaLN_modulation.0"))
    branches = inject_lora(fresh_transformer, names, rank=4, alpha=4.0, seed=1)
    for number, parameter in enumerate(branches.parameters()):
        nn.init.normal_(parameter.data, std=0.02, generator=torch.Generator().manual_seed(number))
    return branches


def inputs(tiny):
    generator = torch.Generator().manual_seed(3)
    texts = [tiny.features("a noto emoji of cat"), tiny.features("a blob emoji of fire")]
    return torch.randn(SIZE, generator=generator), torch.tensor([0.3, 0.8]), texts


def gradients(transformer, lora, tiny, run) -> torch.Tensor:
    for parameter in lora.parameters():
        parameter.grad = None
    predictor(transformer, run)(*inputs(tiny)).square().mean().backward()
    return torch.cat([parameter.grad.flatten() for parameter in lora.parameters()])


@pytest.mark.parametrize("preserve_rng", [False, True])
def test_gradients_are_the_same(fresh_transformer, lora, tiny, preserve_rng):
    kept = gradients(fresh_transformer, lora, tiny, run_directly)
    rerun = gradients(fresh_transformer, lora, tiny, block_runner("full", preserve_rng=preserve_rng))
    assert kept.abs().max() > 0
    assert torch.equal(kept, rerun)


def counted_blocks(monkeypatch) -> Counter[int]:
    """How often each block of the noisy stream runs."""
    calls: Counter[int] = Counter()
    original = forward.modulated_block

    def counting(block, *arguments):
        calls[id(block)] += 1
        return original(block, *arguments)

    monkeypatch.setattr(forward, "modulated_block", counting)
    return calls


def test_each_block_of_the_layers_runs_twice_and_never_more(fresh_transformer, lora, tiny, monkeypatch):
    calls = counted_blocks(monkeypatch)
    gradients(fresh_transformer, lora, tiny, block_runner("full"))
    assert [calls[id(block)] for block in fresh_transformer.layers] == [2] * len(fresh_transformer.layers)
    assert [calls[id(block)] for block in fresh_transformer.noise_refiner] == [1], "frozen, so nothing to run again for"


@pytest.mark.parametrize("mode", ["none", "full"])
def test_without_gradients_blocks_run_once_and_draw_the_same(fresh_transformer, lora, tiny, monkeypatch, mode):
    with torch.no_grad():
        expected = predictor(fresh_transformer)(*inputs(tiny))
        calls = counted_blocks(monkeypatch)
        monkeypatch.setattr("slipstream.precision.checkpointing.checkpoint", None)
        got = predictor(fresh_transformer, block_runner(mode))(*inputs(tiny))
    assert set(calls.values()) == {1}
    assert torch.equal(got, expected)


def saved_bytes(work) -> int:
    """Bytes that autograd keeps for the backward pass of `work()`."""
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = work()
    assert out.requires_grad
    return sum(kept.values())


def test_full_keeps_little_more_than_the_inputs_of_the_blocks():
    blocks = [nn.Sequential(nn.Linear(32, 128), nn.SiLU(), nn.Linear(128, 32)) for _ in range(6)]

    def work(run):
        x = torch.randn(64, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()
        for block in blocks:
            x = run(block, x)
        return x

    everything, inputs_only = (saved_bytes(lambda mode=mode: work(block_runner(mode))) for mode in ("none", "full"))
    assert inputs_only < 0.5 * everything


def test_random_numbers_of_a_block_are_drawn_again_where_asked():
    """With dropout in a block, the second run must drop the same elements, or the gradient is of another function."""
    x = torch.ones(1000, requires_grad=True)
    torch.manual_seed(0)
    out = block_runner("full", preserve_rng=True)(lambda y: nn.functional.dropout(y, 0.5).square(), x)
    torch.manual_seed(1)
    out.sum().backward()
    assert torch.equal(x.grad == 0, out == 0)


@pytest.mark.parametrize("again", [(True, False, True, False, False), (False,) * 5, (True,) * 5])
def test_gradients_are_bit_for_bit_the_same_whichever_blocks_run_again(
    fresh_transformer, lora, tiny, monkeypatch, again
):
    kept = gradients(fresh_transformer, lora, tiny, run_directly)
    calls = counted_blocks(monkeypatch)
    run = selective_runner(fresh_transformer.layers, lambda batch, tokens: again)
    assert torch.equal(gradients(fresh_transformer, lora, tiny, run), kept)
    assert [calls[id(block)] for block in fresh_transformer.layers] == [1 + runs_again for runs_again in again]


def test_the_choice_is_made_for_the_shape_at_hand(fresh_transformer, lora, tiny):
    asked: set[tuple[int, int]] = set()

    def again_at(batch: int, tokens: int) -> list[bool]:
        asked.add((batch, tokens))
        return [False] * 5

    gradients(fresh_transformer, lora, tiny, selective_runner(fresh_transformer.layers, again_at))
    _, _, texts = inputs(tiny)
    longest = -(-max(map(len, texts)) // 32) * 32
    assert asked == {(2, 32), (2, longest), (2, 32 + longest)}, "image, captions, and both"

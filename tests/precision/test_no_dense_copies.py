"""No dense copy of packed weights outlives its product in a whole model, nor does loading ever hold a dense model."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.inject import inject_lora, select_targets
from slipstream.adapters.training_adapter import attach_training_adapter
from slipstream.models.z_image.family import predictor
from slipstream.models.z_image.loading import load_transformer
from slipstream.models.z_image.resolve import TINY_ROOT, resolve_adapter
from slipstream.precision import linear, reading
from slipstream.precision.checkpointing import block_runner, run_directly
from slipstream.precision.placing import Placement, place_weights, weight_bytes
from slipstream.precision.reading import read_piece
from slipstream.precision.schemes import SCHEMES
from slipstream.training.fast_path import fast_path

CPU = torch.device("cpu")
TRANSFORMER = TINY_ROOT / "turbo/transformer"
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "w1", "w2", "w3")


def with_branches(scheme: str | None) -> tuple[nn.Module, BranchSet]:
    """The tiny transformer with a live training adapter and a LoRA that is off its start."""
    transformer = load_transformer(TRANSFORMER, CPU, torch.float32, scheme)
    attach_training_adapter(transformer, resolve_adapter("tiny/adapters/training_adapter_v2.safetensors"))
    lora = inject_lora(transformer, select_targets(transformer, "layers", TARGETS), rank=4, alpha=4.0, seed=1)
    for parameter in lora.parameters():
        nn.init.normal_(parameter.data, std=0.01)
    return transformer, lora


def loss_of(predict: Callable[..., Tensor]) -> Tensor:
    """A training's prediction of two pictures of 64 x 64 with captions."""
    noisy = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    texts = [torch.randn(tokens, 128, generator=torch.Generator().manual_seed(tokens)) for tokens in (9, 9)]
    return predict(noisy, torch.tensor([0.3, 0.7]), texts).square().mean()


def bytes_saved_beside_the_model(transformer: nn.Module, run=run_directly) -> int:
    """What autograd keeps for the backward pass, each storage once, without the model's own tensors."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*transformer.parameters(), *transformer.buffers())}
    saved: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        pointer = tensor.untyped_storage().data_ptr()
        if pointer not in own:
            saved[pointer] = tensor  # kept, so that no other tensor gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss_of(predictor(transformer, run)).backward()
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


@pytest.fixture(scope="module")
def dense_saves() -> int:
    return bytes_saved_beside_the_model(with_branches(None)[0])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_packed_weights_save_no_more_for_the_backward_pass_than_dense_ones(scheme, dense_saves):
    transformer, _ = with_branches(scheme)
    assert 0 < bytes_saved_beside_the_model(transformer) <= dense_saves


@pytest.mark.parametrize("mode", ["none", "full"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_dense_weight_at_a_time_is_alive_in_a_whole_step(scheme, mode, monkeypatch):
    made: list[weakref.ref[Tensor]] = []

    def unpack(*arguments) -> Tensor:
        assert [ref() for ref in made] == [None] * len(made), "an earlier dense weight is still alive"
        dense = SCHEMES[scheme].unpack(*arguments).clone()  # a tensor of its own, not a view of one
        made.append(weakref.ref(dense))
        return dense

    transformer, lora = with_branches(scheme)
    monkeypatch.setattr(linear, "SCHEMES", {scheme: replace(SCHEMES[scheme], unpack=unpack)})
    loss = loss_of(predictor(transformer, block_runner(mode)))
    forward = len(made)
    assert forward == 7 * 7, "every packed linear once"
    loss.backward()
    assert len(made) > 1.5 * forward
    assert [ref() for ref in made] == [None] * len(made)
    assert all(parameter.grad is not None for parameter in lora.parameters())


def test_float8_products_never_make_a_weight_dense(monkeypatch):
    """In the fused blocks; those of captions run module by module."""
    transformer, lora = with_branches("float8")
    fast, _ = fast_path(transformer, lora, CPU, float8=True)
    assert fast is not None
    shapes: list[tuple[int, int]] = []

    def unpack(packed, shape, dtype) -> Tensor:
        shapes.append(shape)
        return SCHEMES["float8"].unpack(packed, shape, dtype)

    monkeypatch.setattr(linear, "SCHEMES", {"float8": replace(SCHEMES["float8"], unpack=unpack)})
    loss_of(fast.predict).backward()
    assert len(shapes) == 2 * 7, "two captions through one block of seven linears, and nothing else"


def peak_of_allocations(work: Callable[[], object]) -> int:
    """Bytes that torch held at most in this thread during some work, beside what it held before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        kept = work()
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    del kept
    return most


@pytest.mark.parametrize("scheme", SCHEMES)
def test_packing_needs_what_is_packed_and_a_few_times_one_weight(scheme):
    side, number = 256, 48
    with torch.device("meta"):
        model = nn.ModuleList([nn.Linear(side, side, bias=False) for _ in range(number)])

    def place() -> nn.Module:
        weights = ((f"{n}.weight", torch.full((side, side), 0.5)) for n in range(number))
        place_weights(model, weights, Placement(CPU, torch.float32, scheme))
        return model

    one = side * side * 4
    peak = peak_of_allocations(place)
    assert weight_bytes(model) < peak < weight_bytes(model) + 8 * one
    assert peak < 0.5 * number * one


@pytest.mark.parametrize("scheme", [None, *SCHEMES])
def test_what_is_read_is_gone_once_it_is_placed(scheme, monkeypatch):
    """Of the file's bytes no more are alive than what is read ahead and the weight that is being placed."""
    alive = most = total = largest = 0

    def freed(size: int) -> None:
        nonlocal alive
        alive -= size

    def counted(piece, *, pinned):
        nonlocal alive, most, total, largest
        read = read_piece(piece, pinned=pinned)
        array = read.view(torch.uint8).numpy().copy()
        weakref.finalize(array, freed, array.nbytes)
        alive, total, largest = alive + array.nbytes, total + array.nbytes, max(largest, array.nbytes)
        most = max(most, alive)
        return torch.from_numpy(array).view(read.dtype).view(read.shape)

    monkeypatch.setattr(reading, "read_piece", counted)
    monkeypatch.setattr(reading, "AHEAD_BYTES", 1)
    model = load_transformer(TRANSFORMER, CPU, torch.float32, scheme)
    assert total > 9e6
    assert most <= 3 * largest, "the next one, the one that is placed, and the one before, which an iterator holds"
    assert alive <= largest
    assert model is not None

"""Running out of memory for real: the allocator is capped below what a step needs, and the run goes on."""

from __future__ import annotations

import pytest
import torch
from tests.gpu.test_fast_path import Case, error

from slipstream.models.z_image.family import release_memory

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


def test_graphs_that_are_dropped_give_their_memory_back_and_are_captured_again(tiny):
    case = Case(tiny, "cuda", torch.bfloat16, fused=True, folded=True)
    assert case.predict.has_graphs
    case.noisy = torch.randn(2, 16, 64, 64, generator=torch.Generator().manual_seed(1)).cuda()
    for _ in range(3):
        velocity, gradients = case.gradients()
    torch.cuda.synchronize()
    release_memory()
    held = torch.cuda.memory_reserved()
    case.predict.drop_graphs()
    release_memory()
    assert torch.cuda.memory_reserved() < held
    for _ in range(3):
        again, same = case.gradients()
    print("bit for bit:", torch.equal(velocity, again), torch.equal(gradients, same))
    assert error(again, velocity) < 1e-3
    assert error(same, gradients) < 5e-3
    case.predict.drop_graphs(for_good=True)
    assert not case.predict.has_graphs


def test_a_step_that_met_a_full_card_is_the_same_when_it_is_done_again(tiny):
    case = Case(tiny, "cuda", torch.bfloat16, fused=True)
    case.predict.limit_graphs(0)
    case.noisy = torch.randn(4, 16, 128, 128, generator=torch.Generator().manual_seed(1)).cuda()
    case.sigma, case.texts = case.sigma.repeat(2), case.texts * 2
    exact, gradients = case.gradients()
    release_memory()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + (8 << 20)) / total)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            case.gradients()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    release_memory()
    again, same = case.gradients()
    print("bit for bit:", torch.equal(exact, again), torch.equal(gradients, same))
    assert error(again, exact) < 1e-3
    assert error(same, gradients) < 5e-3

"""What fused blocks keep on CUDA: the bytes that the arithmetic says, at every level, and the same gradients."""

from __future__ import annotations

import pytest
import torch
from tests.gpu.test_fast_path import Case, error

from slipstream.memory.blocks import fused_block_bytes
from slipstream.memory.levels import LEVELS, same_level
from slipstream.models.z_image.sizes import block_widths

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


@pytest.fixture
def case(tiny) -> Case:
    """Eager, on 64 x 64 latents: 2 x 1,024 image tokens, so that activations outweigh everything else."""
    case = Case(tiny, "cuda", torch.bfloat16, fused=True)
    case.predict.limit_graphs(0)
    case.noisy = torch.randn(2, 16, 64, 64, generator=torch.Generator().manual_seed(1)).cuda()
    return case


def stack_of(case: Case):
    return case.predict._both[1]


def kept_bytes(case: Case) -> int:
    """Allocated between the passes."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    velocity = case.predict(case.noisy, case.sigma, case.texts)
    torch.cuda.synchronize()
    kept = torch.cuda.memory_allocated() - before
    velocity.sum().backward()
    return kept


def test_each_level_keeps_as_many_bytes_as_counted(tiny, case):
    stack = stack_of(case)
    number, tokens = len(stack.blocks), 2 * (1024 + 32)
    counted = fused_block_bytes(block_widths(tiny.transformer.config), rank=8).kept
    kept_bytes(case)  # captions, tables and kernels are there from now on
    found = {}
    for level in LEVELS:
        stack.levels_at = same_level(level, number)
        found[level] = kept_bytes(case) / (number * tokens)
    print({level: (round(found[level]), counted[level]) for level in LEVELS})
    for upper, lower in (("everything", "lean"), ("lean", "outputs"), ("outputs", "input")):
        assert found[upper] - found[lower] == pytest.approx(counted[upper] - counted[lower], rel=0.1)


@pytest.mark.parametrize("unequal", [False, True])
def test_gradients_are_those_of_keeping_everything(tiny, case, unequal):
    stack = stack_of(case)
    if unequal:
        case.texts = [case.texts[0], torch.cat([case.texts[1]] * 8)]
    velocity, exact = case.gradients()
    again = error(case.gradients()[1], exact)
    print(f"two runs differ by {again:.2e}")
    for level in LEVELS:
        stack.levels_at = same_level(level, len(stack.blocks))
        found_velocity, found = case.gradients()
        assert torch.equal(found_velocity, velocity)
        assert error(found, exact) <= max(2 * again, 1e-6), level

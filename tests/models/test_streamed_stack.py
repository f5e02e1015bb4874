"""Blocks that stream compute bit for bit what resident ones do, at every level of keeping and both kinds of weights."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.models.test_stack import Case
from tests.models.test_stack_float8 import MULTIPLY, float8

from slipstream.kernels.attention import plain_attention
from slipstream.memory.levels import LEVELS, Level, same_level
from slipstream.memory.streaming import spread
from slipstream.models.z_image.stack import BlockStack
from slipstream.models.z_image.streamed import Streaming
from slipstream.precision.linear import QuantizedLinear
from slipstream.training.fast_path import branches_of


def stack_of(case: Case, streaming: Streaming = Streaming(), level: Level = "everything", **more) -> BlockStack:  # noqa: B008
    return BlockStack(
        case.blocks, [branches_of(b) for b in case.blocks], plain_attention,
        levels_at=same_level(level, len(case.blocks)), multiply=MULTIPLY, streaming=streaming, **more,
    )  # fmt: skip


def case_of(transformer, kind: str) -> Case:
    model = copy.deepcopy(transformer)
    return Case(float8(model, QuantizedLinear) if kind == "float8" else model, 1)


def same(found, expected) -> bool:
    return torch.equal(found[0], expected[0]) and all(
        torch.equal(*pair) for pair in zip(found[1], expected[1], strict=True)
    )


@pytest.mark.parametrize("kind", ["dense", "float8"])
@pytest.mark.parametrize("num_slots", [2, 3])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_streamed_stack_is_the_resident_one(fresh_transformer, kind, num_slots, share):
    expected = None
    number = len(fresh_transformer.layers)
    for keep_transposed in (True, False):
        case = case_of(fresh_transformer, kind)
        resident = stack_of(case, keep_transposed=keep_transposed)
        found = case.by_stack(resident)
        assert resident.streamed.number == 0
        assert expected is None or same(found, expected)
        expected = found
    case = case_of(fresh_transformer, kind)
    stack = stack_of(case, Streaming(spread(round(share * number), number), num_slots))
    assert stack.streamed.number == round(share * number)
    for level in LEVELS:
        stack.levels_at = same_level(level, number)
        assert same(case.by_stack(stack), expected), level
    with torch.no_grad():
        for _ in range(2):
            assert torch.equal(stack(case.x, case.time, case.layout.joint), expected[0])


def test_few_copies_are_made_and_slots_are_reused_where_a_pass_turns(fresh_transformer):
    case = case_of(fresh_transformer, "dense")
    number = len(case.blocks)
    stack = stack_of(case, Streaming(tuple(range(number))))
    case.by_stack(stack)
    before = stack.streamed.ring.num_copies
    case.by_stack(stack)
    assert stack.streamed.ring.num_copies - before == 2 * (number - 2)
    with torch.no_grad():
        before = stack.streamed.ring.num_copies
        stack(case.x, case.time, case.layout.joint)
    assert stack.streamed.ring.num_copies - before <= number + 1


@pytest.mark.parametrize("kind", ["dense", "float8"])
def test_new_values_of_the_lora_and_its_switch_reach_the_slots(fresh_transformer, kind):
    cases = [case_of(fresh_transformer, kind) for _ in range(2)]
    number = len(cases[0].blocks)
    stacks = [stack_of(cases[0]), stack_of(cases[1], Streaming(tuple(range(number))))]
    first = [case.by_stack(stack) for case, stack in zip(cases, stacks, strict=True)]
    for case in cases:
        with torch.no_grad():
            for parameter in case.lora.parameters():
                parameter.mul_(1.5)
    again = [case.by_stack(stack) for case, stack in zip(cases, stacks, strict=True)]
    assert same(again[0], again[1])
    assert not torch.equal(first[1][0], again[1][0])
    # a prediction without the LoRA between a forward pass and its backward pass leaves that one alone
    found = []
    for case, stack in zip(cases, stacks, strict=True):
        stream = stack(case.x, case.time, case.layout.joint)
        with torch.no_grad(), case.lora.disabled():
            stack.refresh()
            without = stack(case.x, case.time, case.layout.joint)
        assert not torch.equal(without, stream.detach())
        found.append((without, case._gradients(stream)))
    assert same(*found)
    assert all(torch.equal(*pair) for pair in zip(found[0][1], again[0][1], strict=True))


def test_blocks_with_and_without_a_lora_share_slots(fresh_transformer):
    cases = [case_of(fresh_transformer, "dense") for _ in range(2)]
    stacks = []
    for case, streaming in zip(cases, (Streaming(), Streaming(tuple(range(len(cases[0].blocks))))), strict=True):
        beside = [branches_of(block) for block in case.blocks]
        beside[1] = {}
        stacks.append(BlockStack(case.blocks, beside, plain_attention, streaming=streaming))
    with torch.no_grad():
        found = [stack(case.x, case.time, case.layout.joint) for case, stack in zip(cases, stacks, strict=True)]
        assert torch.equal(*found)

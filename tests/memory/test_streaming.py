"""The ring of slots: what is in them when, how often something is copied, and which blocks it is for."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from slipstream.memory.pinned import HostArena
from slipstream.memory.streaming import Piece, Ring, Space, space_bytes, spread

CPU = torch.device("cpu")


def ring_of(num_packets: int, num_slots: int) -> tuple[Ring, list[torch.Tensor], list[list[torch.Tensor]]]:
    """(ring, slots, one-element lists with each packet's source, which may be replaced)."""
    slots = [torch.zeros(3) for _ in range(num_slots)]
    sources = [[torch.full((3,), float(number))] for number in range(num_packets)]
    packets = [[Piece(lambda own=own: own[0], slots[n % num_slots])] for n, own in enumerate(sources)]
    return Ring(packets, num_slots, CPU), slots, sources


@pytest.mark.parametrize("num_slots", [2, 3])
def test_packets_are_there_from_take_to_release_both_ways(num_slots):
    ring, slots, _ = ring_of(7, num_slots)
    for _ in range(2):
        for number in range(7):
            ring.take(number, range(number + 1, 7))
            assert slots[number % num_slots][0] == number
            ring.release(number)
        for number in reversed(range(7)):
            ring.take(number, range(number - 1, -1, -1))
            assert slots[number % num_slots][0] == number
            ring.release(number)
    # the first pass fills every slot; where a pass turns round, the slots hold what it needs next
    assert ring.num_copies == 7 + 3 * (7 - num_slots)


def test_what_follows_arrives_early_and_never_over_what_is_in_use():
    ring, slots, _ = ring_of(5, 2)
    ring.take(0, [1, 2])
    assert (slots[0][0], slots[1][0], ring.num_copies) == (0, 1, 2)
    ring.prefetch(2)
    assert slots[0][0] == 0
    ring.release(0)
    ring.prefetch(2)
    assert slots[0][0] == 2
    # after a pass that failed in between, a packet comes into a slot that nobody gave back
    ring.take(2)
    ring.take(4)
    assert slots[0][0] == 4


def test_other_values_are_fetched_whether_replaced_or_written_over():
    ring, slots, sources = ring_of(2, 2)
    ring.take(1)
    ring.release(1)
    ring.take(1)
    assert ring.num_copies == 1
    sources[1][0] = torch.full((3,), 8.0)
    ring.take(1)
    assert (slots[1][0], ring.num_copies) == (8, 2)
    sources[1][0].mul_(2)
    ring.take(1)
    assert (slots[1][0], ring.num_copies) == (16, 3)


def test_a_space_gives_away_aligned_pieces_and_no_more_than_it_has():
    space = Space(space_bytes(6, 40), CPU)
    for _ in range(2):
        first, second = space.tensor((3,), torch.bfloat16), space.tensor((2, 5), torch.float32)
        assert second.data_ptr() - first.data_ptr() == 256
        with pytest.raises(ValueError, match="no room for 4 more"):
            space.tensor((1,), torch.float32)
        space = space.again()
    assert space.tensor((3,), torch.bfloat16).data_ptr() == first.data_ptr()


def test_streaming_blocks_are_spread_and_the_first_stays_if_any_does():
    assert spread(0, 30) == ()
    assert spread(30, 30) == tuple(range(30))
    assert spread(15, 30) == tuple(range(1, 30, 2))
    assert spread(1, 30) == (29,)
    for number in range(1, 30):
        chosen = spread(number, 30)
        assert len(set(chosen)) == number
        assert chosen[0] > 0
        gaps = [b - a for a, b in pairwise(chosen)]
        assert not gaps or max(gaps) - min(gaps) <= 1


def test_held_tensors_are_contiguous_copies():
    arena = HostArena(pinned=False)
    weight = torch.arange(6.0).view(2, 3)
    held = arena.hold(weight.T)
    assert torch.equal(held, weight.T)
    assert held.is_contiguous()


def test_slots_that_were_filled_behind_the_ring_s_back_are_filled_again_where_it_matters():
    """As around a graph, which copies by itself: what it expects is brought, what it left is believed."""
    sources = [torch.full((4,), float(index)) for index in range(5)]
    slots = [torch.empty(4) for _ in range(2)]
    ring = Ring([[Piece(lambda own=own: own, slots[i % 2])] for i, own in enumerate(sources)], 2, torch.device("cpu"))
    for index in range(5):
        ring.take(index)
        ring.release(index)
    expected = ring.contents()  # packets 4 and 3
    assert [content[0] for content in expected if content is not None] == [4, 3]
    before = ring.num_copies
    ring.bring(expected)
    assert ring.num_copies == before
    ring.take(0)
    ring.release(0)
    ring.bring(expected)
    assert [float(slot.mean()) for slot in slots] == [4, 3]
    slots[0].fill_(2.0)  # a graph has copied packet 2
    sides = [(2, ((sources[2].data_ptr(), sources[2]._version),)), expected[1]]
    ring.reset(sides)
    before = ring.num_copies
    ring.take(2)
    assert ring.num_copies == before
    ring.reset([None, None])
    ring.take(3)
    assert ring.num_copies == before + 1

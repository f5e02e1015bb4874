"""Blocks whose weights live in host memory and visit slots on the device, in the order in which a pass reaches them.

At the end of a forward pass the last blocks are in the slots, where the backward pass begins, and at its end the first
ones: with S slots 2 S of the 2 M copies of a step are saved.

The low-rank branches change with every step and stay on the device. Beside float8 codes they are apart anyway; beside
dense weights they are written into the joint matrix after its weights have come: one small kernel for a block, where
products of their own would pass over every output once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from slipstream.kernels.copies import Copy, CopyTable
from slipstream.memory.streaming import Ring, Space
from slipstream.models.z_image.fused_block import FusedBlock, slot_bytes_of_block
from slipstream.models.z_image.fused_linear import Beside

Way = Literal["forward", "backward", "round"]
"""Forward with a backward pass to come, backward, and forward with another forward pass to come."""

SLOTS = 2
"""One block's weights are used while the next one's arrive."""


@dataclass(frozen=True)
class Streaming:
    """Which blocks of a stack stream, by number, and how many of them are on the device at once."""

    blocks: tuple[int, ...] = ()
    num_slots: int = SLOTS

    def slots(self, blocks: Sequence[Any], branches: Sequence[Mapping[str, Beside]]) -> Callable[[int], Space | None]:
        """A block's number to the memory that it visits, None for those that stay; ask for each one once, in order."""
        if not self.blocks:
            return lambda number: None
        device: torch.device = blocks[0].attention_norm1.weight.device
        largest = max(slot_bytes_of_block(blocks[number], branches[number]) for number in self.blocks)
        spaces = [Space(largest, device) for _ in range(min(self.num_slots, len(self.blocks)))]
        own = {number: spaces[place % len(spaces)] for place, number in enumerate(self.blocks)}
        return lambda number: own[number].again() if number in own else None


NO_STREAMING = Streaming()
"""All blocks stay on the device."""


class StreamedBlocks:
    """Sees to it that a block's weights are there when they are used.

    Args:
        ring: of the streaming blocks' packets.
        places: block number to packet number.
        edges: of every packet, what writes the branches beside its weights.
    """

    def __init__(self, ring: Ring | None, places: Mapping[int, int], edges: Sequence[Sequence[Copy]]) -> None:
        self.ring = ring
        self._places, self._edges = places, edges
        self._for_training = [CopyTable(lasting=True) for _ in edges]
        self._for_use = [CopyTable(lasting=False) for _ in edges]

    @property
    def number(self) -> int:
        """How many blocks stream."""
        return len(self._places)

    def arrive(self, number: int, way: Way) -> None:
        """Before a block's weights are used; those that will be used next begin to come."""
        place = self._places.get(number)
        if self.ring is not None and place is not None:
            self.ring.take(place, self._following(place, way))
            tables = self._for_use if way == "round" else self._for_training
            tables[place].run(self._edges[place])

    def leave(self, number: int) -> None:
        """After a block's weights were used."""
        place = self._places.get(number)
        if self.ring is not None and place is not None:
            self.ring.release(place)

    def _following(self, place: int, way: Way) -> Iterator[int]:
        if way == "backward":
            return iter(range(place - 1, -1, -1))
        ahead = range(place + 1, len(self._places))
        return iter((*ahead, *range(place)) if way == "round" else ahead)


def stream_blocks(streaming: Streaming, blocks: Sequence[FusedBlock]) -> StreamedBlocks:
    """For blocks that were built over the slots of this streaming."""
    if not streaming.blocks:
        return StreamedBlocks(None, {}, ())
    chosen = [blocks[number].linears for number in streaming.blocks]
    ring = Ring(
        [[piece for linear in linears for piece in linear.pieces()] for linears in chosen],
        min(streaming.num_slots, len(chosen)), blocks[0].norms_4D.device,
    )  # fmt: skip
    edges = [[copy for linear in linears for copy in linear.edges()] for linears in chosen]
    return StreamedBlocks(ring, {number: place for place, number in enumerate(streaming.blocks)}, edges)

"""Weights that live in host memory and visit the device: a ring of slots, filled ahead of their use on a stream of its
own, host to device only.

Packet number i always goes to slot i modulo the number of slots, so whoever computes with it can hold on to the slot's
tensors once and for all. Two events guard a slot: it is read when its copy is done, and overwritten when what computes
with it is done.

On the CPU the same book is kept over plain copies, so that a mistake in it shows as wrong numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

_ALIGNMENT = 256
"""Tensors of a slot begin at multiples of this many bytes."""


@dataclass(frozen=True)
class Piece:
    """A part of a packet.

    Attributes:
        source: where its values are now, in host memory; another tensor after another call swaps them in.
        target: their place in the packet's slot.
    """

    source: Callable[[], Tensor]
    target: Tensor


class Space:
    """A slot's memory, given away piece by piece."""

    def __init__(self, num_bytes: int, device: torch.device) -> None:
        self.device = device
        self._bytes = torch.empty(num_bytes, dtype=torch.uint8, device=device)
        self._taken = 0

    def again(self) -> Space:
        """The same memory, to be given away once more to another packet."""
        self._taken = 0
        return self

    def tensor(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """The next piece, with whatever stands there.

        Raises:
            ValueError: there is no room for it.
        """
        start, size = self._taken, math.prod(shape) * dtype.itemsize
        self._taken = start + space_bytes(size)
        if self._taken > len(self._bytes):
            raise ValueError(f"a slot of {len(self._bytes)} bytes has no room for {size} more after {start}")
        return self._bytes[start : start + size].view(dtype).view(*shape)


def space_bytes(*sizes: int) -> int:
    """Bytes of a `Space` for pieces of these sizes."""
    return sum(-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes)


Content = tuple[int, tuple[tuple[int, int], ...]]
"""Number of a packet, and address and version of what its pieces came from."""


@dataclass
class _Slot:
    """What is in a slot, or on its way into it.

    Attributes:
        content: the packet; None where nobody knows.
        held: between `take` and `release`.
        ready: its copy is done.
        free: what computed with it is done; None before anything did.
    """

    content: Content | None = None
    held: bool = False
    ready: torch.cuda.Event | None = None
    free: torch.cuda.Event | None = None


@dataclass
class Ring:
    """Brings packets into their slots.

    Attributes:
        packets: each one's pieces, whose targets lie in slot `number % num_slots`.
        num_slots: packets that are on the device at once; two let one arrive while another is used.
        device: where the slots are.
        num_copies: packets copied so far.
    """

    packets: Sequence[Sequence[Piece]]
    num_slots: int
    device: torch.device
    num_copies: int = 0
    _slots: list[_Slot] = field(default_factory=list)
    _stream: torch.cuda.Stream | None = None

    def __post_init__(self) -> None:
        self._slots = [_Slot() for _ in range(self.num_slots)]
        if self.device.type == "cuda":
            self._stream = torch.cuda.Stream(self.device)

    def take(self, number: int, following: Iterable[int] = ()) -> None:
        """From here on, until its `release`, the packet is in its slot for all that the current stream does.

        `following` are the packets that will be taken next; as many as there is room for begin to arrive.
        """
        slot = self._slot(number)
        self._fill(slot, number)
        slot.held = True
        if self._stream is not None and slot.ready is not None:
            torch.cuda.current_stream(self.device).wait_event(slot.ready)
        for other, _ in zip(following, range(self.num_slots - 1), strict=False):
            self.prefetch(other)

    def prefetch(self, number: int) -> None:
        """Let a packet arrive, unless its slot is in use."""
        slot = self._slot(number)
        if not slot.held:
            self._fill(slot, number)

    def release(self, number: int) -> None:
        """All that computes with the packet is on the current stream now: its slot may be overwritten after that."""
        slot = self._slot(number)
        slot.held = False
        if self._stream is not None:
            slot.free = slot.free or torch.cuda.Event()
            slot.free.record(torch.cuda.current_stream(self.device))

    def contents(self) -> list[Content | None]:
        """What is in the slots, or will be when all that was begun is done."""
        return [slot.content for slot in self._slots]

    def wait(self) -> None:
        """All copies that were begun are done before the current stream goes on."""
        if self._stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self._stream)

    def reset(self, contents: Sequence[Content | None]) -> None:
        """Believe that this is in the slots once the current stream is done: at the beginning of what becomes a CUDA
        graph, and after one was replayed, which filled the slots without being asked. Events of before count no more:
        those of a graph cannot be waited for outside of it."""
        self._slots = [_Slot(content) for content in contents]

    def bring(self, contents: Sequence[Content | None]) -> None:
        """Let the slots hold this before the current stream goes on, as a graph expects that is replayed next."""
        for slot, content in zip(self._slots, contents, strict=True):
            if content is not None and slot.content != content:
                self._fill(slot, content[0])
        self.wait()

    def _slot(self, number: int) -> _Slot:
        return self._slots[number % self.num_slots]

    def _fill(self, slot: _Slot, number: int) -> None:
        """Copy the packet into the slot, unless the very same values are there or on their way."""
        pieces = self.packets[number]
        sources = [piece.source().detach() for piece in pieces]
        content = number, tuple((source.data_ptr(), source._version) for source in sources)
        if slot.content == content:
            return
        if self._stream is None:
            _copy(sources, pieces)
        else:
            self._copy_beside(self._stream, slot, sources, pieces)
        slot.content = content
        self.num_copies += 1

    def _copy_beside(
        self, stream: torch.cuda.Stream, slot: _Slot, sources: Sequence[Tensor], pieces: Sequence[Piece]
    ) -> None:
        if slot.held or slot.free is None:  # never used, or left behind by a pass that failed
            stream.wait_stream(torch.cuda.current_stream(self.device))
        else:
            stream.wait_event(slot.free)
        slot.ready = slot.ready or torch.cuda.Event()
        with torch.cuda.stream(stream):
            _copy(sources, pieces)
            slot.ready.record(stream)


@torch.no_grad()
def _copy(sources: Sequence[Tensor], pieces: Sequence[Piece]) -> None:
    for source, piece in zip(sources, pieces, strict=True):
        piece.target.copy_(source, non_blocking=True)


def spread(num_streamed: int, num_blocks: int) -> tuple[int, ...]:
    """Which of so many blocks stream: as far from each other as they can be, so that each one's copy has the most time.

    The first block stays, where any does: nothing comes before it that its copy could hide behind.
    """
    return tuple(-(-(number + 1) * num_blocks // num_streamed) - 1 for number in range(num_streamed))

"""Tensors in page-locked host memory, packed tightly.

Torch's allocator of pinned memory rounds every tensor up to a power of two: 37.5 MiB of float8 codes take 64. Here they
share chunks whose size is a power of two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK_BYTES = 2**29
_ALIGNMENT = 4096


class HostArena:
    """Holds copies of tensors in host memory; the memory goes back when all tensors of a chunk are gone.

    Args:
        pinned: page-locked, so that a GPU can fetch from it while it computes; needs CUDA.
    """

    def __init__(self, *, pinned: bool, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._pinned, self._chunk_bytes = pinned, chunk_bytes
        self._chunk = torch.empty(0, dtype=torch.uint8)
        self._taken = 0

    def hold(self, tensor: Tensor) -> Tensor:
        """A contiguous copy in host memory."""
        if not self._pinned:
            return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        size = tensor.nbytes
        if self._taken + size > len(self._chunk):
            self._chunk = torch.empty(max(size, self._chunk_bytes), dtype=torch.uint8, pin_memory=True)
            self._taken = 0
        place = self._chunk[self._taken : self._taken + size].view(tensor.dtype).view(tensor.shape)
        self._taken += -(-size // _ALIGNMENT) * _ALIGNMENT
        return place.copy_(tensor.detach())


@dataclass(frozen=True)
class Offload:
    """Linears whose weights stay in host memory.

    Attributes:
        chosen: whether the linear of this module name is one of them.
        arena: where their weights lie.
    """

    chosen: Callable[[str], bool]
    arena: HostArena

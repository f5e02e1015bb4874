"""Reading the tensors of files ahead of their use: a few are on their way from the disk while one is being placed.

Reads go past the memory map: whole tensors in one call each, so that a disk sees large requests, in pinned memory where
they go on to a GPU. What is read ahead is bounded in bytes, never the whole model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from slipstream.core.tensor_file import StoredTensor, TensorFile

Tick = Callable[[int, int], None]
"""(bytes read, bytes in all)."""

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I64": torch.int64, "I32": torch.int32,
    "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
AHEAD_BYTES = 512 << 20
READERS = 4


@dataclass(frozen=True)
class Piece:
    """One tensor to read."""

    path: Path
    key: str
    stored: StoredTensor


def pieces_of(files: Sequence[TensorFile]) -> list[Piece]:
    """Every tensor of some files, as they lie."""
    return [Piece(file.path, key, stored) for file in files for key, stored in file.tensors.items()]


def read_piece(piece: Piece, *, pinned: bool = False) -> Tensor:
    """One tensor from its file.

    Raises:
        OSError: it cannot be read, or the file ends too early.
    """
    raw = torch.empty(piece.stored.num_bytes, dtype=torch.uint8, pin_memory=pinned)
    view = memoryview(raw.numpy())  # type: ignore[arg-type]
    with piece.path.open("rb", buffering=0) as handle:
        handle.seek(piece.stored.start)
        done = 0
        while done < len(view):
            count = handle.readinto(view[done:])
            if not count:
                raise OSError(f"{piece.path.name} ends within {piece.key}")
            done += count
    return raw.view(DTYPES[piece.stored.dtype]).view(piece.stored.shape)


def read_ahead(pieces: Sequence[Piece], *, pinned: bool = False, tick: Tick | None = None) -> Iterator[Tensor]:
    """The tensors in this order; up to half a gibibyte is read before it is asked for.

    `tick` is called after each tensor was used. Leaving early ends the reading.

    Raises:
        OSError: a file cannot be read.
    """
    total = sum(piece.stored.num_bytes for piece in pieces)
    waiting = deque(pieces)
    coming: deque[tuple[int, Future[Tensor]]] = deque()
    ahead = done = 0
    with ThreadPoolExecutor(READERS, thread_name_prefix="read-weights") as pool:
        try:
            while waiting or coming:
                while waiting and (not coming or ahead + waiting[0].stored.num_bytes <= AHEAD_BYTES):
                    piece = waiting.popleft()
                    coming.append((piece.stored.num_bytes, pool.submit(read_piece, piece, pinned=pinned)))
                    ahead += piece.stored.num_bytes
                size, future = coming.popleft()
                yield future.result()
                del future
                ahead, done = ahead - size, done + size
                if tick is not None:
                    tick(done, total)
        finally:
            for _, future in coming:
                future.cancel()

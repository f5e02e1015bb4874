"""Identities of weights for cache keys: the same bytes give the same identity wherever they lie. No torch here."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from slipstream.core.hashing import hash_bytes, hash_text

_FULL_BYTES = 64 << 20
_CHUNK = 64 << 10
_NUM_CHUNKS = 256


def weights_identity(place: Path) -> str:
    """Identity of a component: of a folder from its json and safetensors files, of a single file from that alone.

    Files up to 64 MiB are hashed whole. Of larger ones the size and 256 evenly spaced chunks of 64 KiB enter, the first
    at the very start: reading 8 GB at every start would cost more than it protects. So two files that differ in a few
    numbers only may count as one; two trainings of a model differ everywhere.

    A process reads a file once for this, as long as its size and time of change stay the same.
    """
    if place.is_file():
        return _known_identity(place)
    files = sorted(p for p in place.iterdir() if p.suffix in {".json", ".safetensors", ".txt", ".jinja"})
    return hash_text(*(f"{path.name}:{_known_identity(path)}" for path in files))


def _known_identity(path: Path) -> str:
    state = path.stat()
    return _file_identity(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _file_identity(path: Path, size: int, changed_ns: int) -> str:
    if size <= _FULL_BYTES:
        return hash_bytes(path.read_bytes())
    with path.open("rb") as handle:
        parts = [str(size).encode()]
        for index in range(_NUM_CHUNKS):
            handle.seek(index * (size - _CHUNK) // (_NUM_CHUNKS - 1))
            parts.append(handle.read(_CHUNK))
    return hash_bytes(b"".join(parts))

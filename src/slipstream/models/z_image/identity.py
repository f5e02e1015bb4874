"""Identities of weights for cache keys: the same bytes give the same identity wherever they lie. No torch here."""

from __future__ import annotations

from pathlib import Path

from slipstream.core.hashing import hash_bytes, hash_text

_FULL_BYTES = 64 << 20
_CHUNK = 64 << 10
_NUM_CHUNKS = 256


def weights_identity(folder: Path) -> str:
    """Identity of a component folder from its json and safetensors files.

    Files up to 64 MiB are hashed whole. Of larger ones the head (which holds the safetensors header), the size and 256
    evenly spaced chunks of 64 KiB enter: reading 8 GB at every start would cost more than it protects.
    """
    files = sorted(p for p in folder.iterdir() if p.suffix in {".json", ".safetensors", ".txt", ".jinja"})
    return hash_text(*(f"{path.name}:{_file_identity(path)}" for path in files))


def _file_identity(path: Path) -> str:
    size = path.stat().st_size
    if size <= _FULL_BYTES:
        return hash_bytes(path.read_bytes())
    with path.open("rb") as handle:
        parts = [str(size).encode()]
        for index in range(_NUM_CHUNKS):
            handle.seek(index * (size - _CHUNK) // (_NUM_CHUNKS - 1))
            parts.append(handle.read(_CHUNK))
    return hash_bytes(b"".join(parts))

"""Content hashes: blake2b, 20 bytes, hex."""

from __future__ import annotations

import hashlib
from pathlib import Path

_SIZE = 20


def hash_bytes(data: bytes) -> str:
    """Hash of bytes."""
    return hashlib.blake2b(data, digest_size=_SIZE).hexdigest()


def hash_file(path: Path) -> str:
    """Hash of a file's bytes, read in pieces."""
    digest = hashlib.blake2b(digest_size=_SIZE)
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def hash_text(*parts: str) -> str:
    """Hash of a list of strings; the split between them matters."""
    return hash_bytes("".join(f"{len(part)}:{part}" for part in parts).encode())

"""Atomic files: a reader sees the old content or the new, never half; a full disk leaves the old."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slipstream.core.errors import DiskFullError, RunError


@contextlib.contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary sibling that replaces `path` when the block succeeds and is removed when it fails.

    `durable` also flushes to the disk, so the file survives a power cut.

    Raises:
        DiskFullError: no space left.
        RunError: the file cannot be written for another reason.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        if durable:
            with temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
        temporary.replace(path)
    except Exception as error:
        if _is_disk_full(error):
            raise DiskFullError(
                "no space is left on the disk; the file was not written, what was there before is whole",
                where=str(path), fix="free some space, then run `slipstream resume` on the run folder.",
            ) from error  # fmt: skip
        if isinstance(error, OSError):
            raise RunError(f"cannot write: {error}", where=str(path), fix="check the folder's permissions.") from error
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _is_disk_full(error: Exception) -> bool:
    """ENOSPC or EDQUOT, also where a library put it into text (safetensors) or behind an error of its own (torch)."""
    for cause in (error, error.__context__):
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
    return "No space left on device" in str(error) or "os error 28" in str(error)


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write bytes atomically."""
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode("utf-8"), durable=durable)


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write JSON atomically, indented."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n", durable=durable)

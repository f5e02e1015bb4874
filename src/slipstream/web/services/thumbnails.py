"""Small WebP copies of pictures, kept on disk."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from slipstream.core.hashing import hash_text
from slipstream.data.images import decode_reduced, read_file

SIDES = (128, 256, 512, 1024)
KEPT_DAYS = 60
_QUALITY = 80
_MAKING = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))
"""Decoded pictures are large: only a few are in memory at a time, however many a page asks for."""


@dataclass(frozen=True)
class Thumbnails:
    """A folder of thumbnails. The name of one holds the picture's path, time and size, so a stale one is not found."""

    folder: Path

    def of(self, picture: Path, side: int) -> Path:
        """The thumbnail of a picture, made where it is missing.

        Its longest side is the first of `SIDES` that is not below the one asked for, or the picture's own.

        Raises:
            ImageError: the picture cannot be read.
        """
        wanted = next((one for one in SIDES if one >= side), SIDES[-1])
        path = self.folder / _name(picture, wanted)
        if not path.is_file():
            with _MAKING:
                _make(picture, wanted, path)
        return path

    def tidy(self, now: float, days: float = KEPT_DAYS) -> int:
        """Remove thumbnails that were made more than `days` before `now` (seconds since 1970); returns how many.

        One that is still wanted is made again.
        """
        oldest, removed = now - days * 24 * 3600, 0
        for path in self.folder.glob("*/*"):
            with contextlib.suppress(OSError):  # somebody else tidies too
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    removed += 1
        return removed


def _name(picture: Path, side: int) -> str:
    try:
        found = picture.stat()
        stamp = f"{found.st_mtime_ns} {found.st_size}"
    except OSError:
        stamp = ""  # reading it says why
    name = hash_text(str(picture), stamp, str(side))
    return f"{name[:2]}/{name}.webp"


def _make(picture: Path, side: int, path: Path) -> None:
    image, _ = decode_reduced(read_file(picture), picture, side)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    # two requests may make the same one: each writes a file of its own, the last stays
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        image.save(temporary, format="WEBP", quality=_QUALITY, method=2)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

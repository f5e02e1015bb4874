"""Picture files as bytes, good ones and traps."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(document.cookie)</script>"


def picture(number: int = 0, size: tuple[int, int] = (80, 96), kind: str = "PNG") -> bytes:
    """A picture that differs by number."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (20 + 37 * number % 200, 90, 160 - 11 * number % 100)).save(buffer, kind)
    return buffer.getvalue()


def bomb(side: int = 30_000) -> bytes:
    """A PNG of a few kilobytes that says it has `side` squared pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")

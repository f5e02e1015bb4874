"""A log file from its end, or on from where the last look ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 256 * 1024


@dataclass(frozen=True)
class LogPart:
    """A stretch of a log. Ask again with `next_offset` for what comes after it; `start` is where it begins."""

    text: str
    start: int
    next_offset: int
    size: int


def read_log(path: Path, offset: int | None = None, most_bytes: int = 64 * 1024) -> LogPart:
    """The last `most_bytes` of a log, or as many from `offset` on; whole lines but for the last.

    A log that got shorter (a fresh run of that name) is read from its beginning.
    """
    try:
        with path.open("rb") as handle:
            size = handle.seek(0, 2)
            start = max(0, size - most_bytes) if offset is None else offset if offset <= size else 0
            handle.seek(start)
            data = handle.read(most_bytes)
    except OSError:
        return LogPart("", 0, 0, 0)
    if offset is None and start > 0:
        cut = data.find(b"\n") + 1
        start, data = start + cut, data[cut:]
    # a character that is not whole yet is read the next time
    whole = data[: len(data) - _torn_bytes(data)]
    return LogPart(whole.decode("utf-8", errors="replace"), start, start + len(whole), size)


def _torn_bytes(data: bytes) -> int:
    """How many bytes at the end begin a UTF-8 character without ending it."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte & 0b1100_0000 == 0b1000_0000:
            continue
        needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return back if needed > back else 0
    return 0

"""What only the log tells: out of memory that was mended, captions that were cut."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_OUT_OF_MEMORY = re.compile(r"warning: out of memory (?P<where>in [^:]+): (?P<remedy>.*); it is done again")
_CUT = re.compile(r"(?P<count>\d+) captions or prompts are longer than (?P<tokens>\d+) tokens")
_MOST_BYTES = 8 * 1024**2


@dataclass(frozen=True)
class LogFacts:
    """Counted from a log.

    Attributes:
        out_of_memory: how often something was done again with less memory.
        remedy: what was given up the last time.
        cut_captions, most_tokens: captions whose ends were cut, and the limit.
    """

    out_of_memory: int = 0
    remedy: str = ""
    cut_captions: int = 0
    most_tokens: int = 0


def read_log(path: Path) -> LogFacts:
    """The facts of a log, whose newest 8 MiB are read; nothing where there is none."""
    try:
        with path.open("rb") as handle:
            handle.seek(max(0, path.stat().st_size - _MOST_BYTES))
            text = handle.read().decode("utf-8", errors="replace")
    except OSError:
        return LogFacts()
    failures = list(_OUT_OF_MEMORY.finditer(text))
    cut = [(int(match["count"]), int(match["tokens"])) for match in _CUT.finditer(text)]
    most, tokens = max(cut, default=(0, 0))
    return LogFacts(len(failures), failures[-1]["remedy"] if failures else "", most, tokens)

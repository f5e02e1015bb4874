"""`metrics.jsonl` for charts: read on from where the last look ended, and thinned to what a chart can show."""

from __future__ import annotations

import json
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import fmean

Row = dict[str, float]
_REMEMBERED = 16
"""Files whose rows stay in memory."""


@dataclass
class _Seen:
    """What was read of a file: its identity, how far, and the rows."""

    identity: tuple[int, int]
    size: int = 0
    rows: list[Row] = field(default_factory=list)


@dataclass
class MetricFiles:
    """Reads metrics files; one that grew is read on, not again. A file that was replaced is read anew."""

    _seen: OrderedDict[Path, _Seen] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def rows(self, path: Path) -> list[Row]:
        """All whole lines, in order; empty where there is no file. Do not change the list."""
        with self._lock:
            try:
                found = path.stat()
            except OSError:
                self._seen.pop(path, None)
                return []
            identity = (found.st_dev, found.st_ino)
            seen = self._seen.get(path)
            if seen is None or seen.identity != identity or found.st_size < seen.size:
                seen = self._seen[path] = _Seen(identity)
            self._seen.move_to_end(path)
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
            if found.st_size > seen.size:
                _read_on(path, seen)
            return seen.rows


def _read_on(path: Path, seen: _Seen) -> None:
    with path.open("rb") as handle:
        handle.seek(seen.size)
        data = handle.read()
    whole = data.rfind(b"\n") + 1  # a torn last line is read when it is whole
    fresh = [row for line in data[:whole].splitlines() if (row := _row(line)) is not None]
    # a new list, so that a reader of the old one is not disturbed
    seen.rows = [*seen.rows, *fresh] if seen.rows else fresh
    seen.size += whole


def _row(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int | float) else None


def after(rows: Sequence[Row], step: float) -> Sequence[Row]:
    """The rows of updates after `step`; rows are in order of steps."""
    low, high = 0, len(rows)
    while low < high:
        middle = (low + high) // 2
        if rows[middle]["step"] <= step:
            low = middle + 1
        else:
            high = middle
    return rows[low:]


def columns(rows: Sequence[Row], points: int) -> dict[str, list[float | None]]:
    """At most `points` points by metric: each the mean of equally many neighbouring updates, `step` the last of them.

    Values that are missing or not finite are left out of the mean; a point without any is None.
    """
    keys = list(dict.fromkeys(key for row in rows for key, value in row.items() if _is_number(value)))
    count = min(points, len(rows))
    edges = [round(index * len(rows) / count) for index in range(count + 1)] if count else [0]
    found: dict[str, list[float | None]] = {key: [] for key in keys}
    for start, end in pairwise(edges):
        part = rows[start:end]
        for key in keys:
            values = [number for row in part if (number := _finite(row.get(key))) is not None]
            found[key].append(part[-1]["step"] if key == "step" else fmean(values) if values else None)
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _finite(value: float | None) -> float | None:
    return value if value is not None and _is_number(value) and math.isfinite(value) else None

"""`metrics.jsonl`: one line an update. Readers forgive a torn last line, which a kill can leave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipstream.core.atomic import write_text
from slipstream.core.errors import RunError


class MetricsWriter:
    """Appends lines; every line is flushed, so a door sees it at once."""

    def __init__(self, path: Path) -> None:
        self._handle = path.open("a", encoding="utf-8")

    def append(self, values: Mapping[str, float]) -> None:
        """Add one update's figures."""
        self._handle.write(json.dumps(dict(values)) + "\n")
        self._handle.flush()

    def close(self) -> None:
        """Close the file."""
        self._handle.close()


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add one line to a file of measurements.

    Raises:
        RunError: the file cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(dict(row)) + "\n")
    except OSError as error:
        raise RunError(f"cannot write: {error.strerror or error}", where=str(path), fix="make space.") from error


def read_metrics(path: Path) -> list[dict[str, float]]:
    """All whole lines, in order; empty where there is no file yet."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "step" in row:
            rows.append(row)
    return rows


def truncate_after(path: Path, step: int) -> None:
    """Drop the lines of updates after `step`: a resumed run writes them again."""
    if path.is_file():
        kept = [row for row in read_metrics(path) if row["step"] <= step]
        write_text(path, "".join(json.dumps(row) + "\n" for row in kept))

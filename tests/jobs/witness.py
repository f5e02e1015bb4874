"""What the workers told of themselves, and what must hold of it whatever was killed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Line:
    """A worker said this, after all lines before it and before all after it."""

    pid: int
    job: str
    device: str
    attempt: str
    what: str


def read_witness(path: Path) -> list[Line]:
    """All lines, in the order in which they were written."""
    rows = [line.split(" ", 4) for line in path.read_text().splitlines()]
    return [Line(int(pid), job, device, attempt, what) for pid, job, device, attempt, what in rows]


def at_work(lines: list[Line]) -> list[Line]:
    """What was told while the run was held: not of those that came and went, nor of one that is over."""
    return [line for line in lines if line.what.split()[0] in ("begin", "step")]


def overlaps(lines: list[Line], key: str) -> list[tuple[Line, Line]]:
    """Where a worker goes on after another one of the same job (or on the same device) had begun."""
    newest: dict[str, Line] = {}
    over: dict[str, set[int]] = defaultdict(set)
    found = []
    for line in at_work(lines):
        place = getattr(line, key)
        before = newest.get(place)
        if before is not None and before.pid != line.pid:
            over[place].add(before.pid)
        if line.pid in over[place]:
            assert before is not None
            found.append((before, line))
        newest[place] = line
    return found

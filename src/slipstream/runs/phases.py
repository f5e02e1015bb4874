"""`phases.jsonl`: when each phase of a run began and how long it took, one line a phase, in the order they ended."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class PhaseSpan:
    """One phase: `started` in seconds since 1970, `step` the update after which it came."""

    phase: str
    started: float
    seconds: float
    step: int

    @property
    def ended(self) -> float:
        """When it was over, in seconds since 1970."""
        return self.started + self.seconds


def append_phase(path: Path, span: PhaseSpan) -> None:
    """Add a phase that is over."""
    with path.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(asdict(span)) + "\n")


def read_phases(path: Path) -> list[PhaseSpan]:
    """All whole lines, in order; empty where there is no file yet."""
    if not path.is_file():
        return []
    spans = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            spans.append(PhaseSpan(**json.loads(line)))
        except (ValueError, TypeError):  # a torn last line, which a kill can leave
            continue
    return spans

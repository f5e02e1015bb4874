"""A finding as a page shows it: all in words. What finds and tells it is above this room (`findings`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ToldFinding:
    """What was seen, what it means, what to change.

    Attributes:
        id: names the finding.
        severity: `problem`, `warning` or `hint`; `label` is the word for it.
        title: in short.
        seen: the evidence.
        means: what follows from it.
        change: what to do, the first thing first.
        settings: to try in another run, as overrides.
        evidence: the section of the report that shows it; None where there is none.
    """

    id: str
    severity: str
    label: str
    title: str
    seen: tuple[str, ...]
    means: str
    change: tuple[str, ...]
    settings: tuple[str, ...]
    evidence: str | None

"""What a finding is: which lines of the catalogue it speaks, the figures in them, and the settings to try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["problem", "warning", "hint"]
SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "hint")
"""The gravest first: the LoRA or the run is spoiled; something is likely worse than it need be; worth knowing."""

Evidence = Literal["curves", "validation", "drift", "previews", "timings", "dataset"]
"""Where the figures can be looked at: a section of the report."""

Value = str | int | float


@dataclass(frozen=True)
class Line:
    """A sentence of the catalogue (`texts/*.toml`) by its key, with the values that stand in it."""

    key: str
    values: Mapping[str, Value] = field(default_factory=dict)


def line(key: str, **values: Value) -> Line:
    """A line with its values."""
    return Line(key, values)


@dataclass(frozen=True)
class Finding:
    """One thing about a run.

    Attributes:
        id: names it, and its title `<id>.title` and meaning `<id>.means` in the catalogue.
        severity: how grave it is.
        seen: the evidence, with figures.
        change: what to do about it.
        settings: the settings to try in another run, as overrides would give them.
        evidence: where it can be looked at; None where nowhere.
    """

    id: str
    severity: Severity
    seen: tuple[Line, ...]
    change: tuple[Line, ...]
    settings: Mapping[str, Value] = field(default_factory=dict)
    evidence: Evidence | None = None

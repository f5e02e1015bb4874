"""What became of every key of a foreign file: taken, translated, ignored and why, unknown, or added by us."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["taken", "translated", "ignored", "unknown", "added"]
OUTCOMES: tuple[Outcome, ...] = ("taken", "translated", "ignored", "unknown", "added")

PANELS = ("job", "model", "quantization", "target", "save", "training", "datasets", "sample", "advanced")


@dataclass(frozen=True)
class Entry:
    """One key of the foreign file, or (`added`) one that it leaves to its trainer's default.

    Attributes:
        key: where it stands there, such as `train.lr` or `datasets[0].folder_path`.
        value: what stands there; None where `added`.
        outcome: what became of it.
        panel: our panel that it belongs to, for grouping.
        target: our setting by dotted path, where there is one.
        result: the value written there.
        why: the reason, wherever the outcome is not plain.
        matters: whether the training differs from what the file's author may expect.
    """

    key: str
    value: Any
    outcome: Outcome
    panel: str
    target: str | None = None
    result: Any = None
    why: str = ""
    matters: bool = False


@dataclass
class Report:
    """All entries of one imported training, in the file's order."""

    source: str
    format: str
    entries: list[Entry] = field(default_factory=list)

    def count(self, outcome: Outcome) -> int:
        """How many keys ended this way."""
        return sum(entry.outcome == outcome for entry in self.entries)

    def by_panel(self) -> Iterator[tuple[str, list[Entry]]]:
        """Panels in the guide's order with their entries; empty ones left out."""
        for panel in PANELS:
            entries = [entry for entry in self.entries if entry.panel == panel]
            if entries:
                yield panel, entries

    def notable(self) -> list[Entry]:
        """The entries that a user should read before training: what differs, and what nobody knows."""
        return [entry for entry in self.entries if entry.matters or entry.outcome == "unknown"]

    def summary(self) -> str:
        """`31 keys: 20 taken, 6 translated, 5 ignored; 4 defaults written down`."""
        counts = [f"{n} {name}" for name in OUTCOMES[:4] if (n := self.count(name))]
        keys = sum(self.count(name) for name in OUTCOMES[:4])
        added = self.count("added")
        return f"{keys} keys: {', '.join(counts)}" + (
            f"; {added} default{'s' * (added > 1)} written down" if added else ""
        )


def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every plain value below a key, by path; an empty group and a list of plain values count as one."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from leaves(item, f"{path}[{number}]")
    else:
        yield path, value

"""What the list of runs shows beside a summary, and choosing among many runs."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slipstream.reports.pictures import find_previews
from slipstream.runs.layout import RunDir
from slipstream.web.services.metric_rows import MetricFiles, columns
from slipstream.web.services.runs import RunSummary

SPARK_POINTS = 48
_REMEMBERED = 500


@dataclass(frozen=True)
class LastPreview:
    """The newest preview of the first prompt that has one. `version` changes with its file."""

    step: int
    prompt: int
    version: int


@dataclass(frozen=True)
class RunCard:
    """A run in the list: how it stands, its loss as a few points, and its newest picture."""

    summary: RunSummary
    spark: tuple[float, ...]
    preview: LastPreview | None


@dataclass
class RunCards:
    """Makes cards; what was made of files that have not changed since is kept."""

    _sparks: OrderedDict[Path, tuple[tuple[int, int], tuple[float, ...]]] = field(default_factory=OrderedDict)
    _previews: OrderedDict[Path, tuple[int, LastPreview | None]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, runs_dir: Path, summaries: Sequence[RunSummary]) -> list[RunCard]:
        """Cards of some runs."""
        with self._lock:
            return [self._card(RunDir(runs_dir / one.name), one) for one in summaries]

    def _card(self, run: RunDir, summary: RunSummary) -> RunCard:
        return RunCard(summary, self._spark(run.metrics), self._preview(run))

    def _spark(self, path: Path) -> tuple[float, ...]:
        try:
            found = path.stat()
        except OSError:
            return ()
        stamp = (found.st_mtime_ns, found.st_size)
        known = self._sparks.get(path)
        if known is None or known[0] != stamp:
            known = (stamp, spark(MetricFiles().rows(path)))
            _keep(self._sparks, path, known)
        return known[1]

    def _preview(self, run: RunDir) -> LastPreview | None:
        try:
            stamp = run.previews.stat().st_mtime_ns
        except OSError:
            return None
        known = self._previews.get(run.path)
        if known is None or known[0] != stamp:
            known = (stamp, last_preview(run, stamp))
            _keep(self._previews, run.path, known)
        return known[1]


def _keep(kept: OrderedDict, key: Path, value: object) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > _REMEMBERED:
        kept.popitem(last=False)


def spark(rows: Sequence[dict[str, float]]) -> tuple[float, ...]:
    """The loss as at most `SPARK_POINTS` means of neighbouring updates."""
    values = columns(rows, SPARK_POINTS).get("loss", [])
    return tuple(value for value in values if value is not None and math.isfinite(value))


def last_preview(run: RunDir, version: int) -> LastPreview | None:
    """The newest preview of the lowest prompt that was drawn then."""
    found = find_previews(run)
    if not found.steps:
        return None
    step = found.steps[-1]
    return LastPreview(step, min(prompt for at, prompt in found.paths if at == step), version)


def chosen_runs(summaries: Sequence[RunSummary], states: Collection[str] = (), text: str = "") -> list[RunSummary]:
    """Runs in one of the states (all, where none is given) whose name has every word of a text in it."""
    words = text.lower().split()
    return [
        one
        for one in summaries
        if (not states or one.state in states) and all(word in one.name.lower() for word in words)
    ]


@dataclass(frozen=True)
class Pages:
    """A long list cut into pages: the page that is shown, from 1, and how many there are."""

    number: int
    count: int
    first: int
    """The index of its first entry."""
    size: int

    @property
    def span(self) -> slice:
        """The entries of the page."""
        return slice(self.first, self.first + self.size)


def page_of(total: int, wanted: int, size: int) -> Pages:
    """The page nearest to the one that is wanted."""
    count = max(1, math.ceil(total / size))
    number = min(max(1, wanted), count)
    return Pages(number, count, (number - 1) * size, size)

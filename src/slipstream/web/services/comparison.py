"""Runs beside each other: which ones an address names, and their figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from slipstream.reports.curves import smoothed, smoothing_window
from slipstream.reports.facts import column, read_object
from slipstream.runs.layout import RunDir
from slipstream.runs.validation import best_row, read_rows
from slipstream.web.problems import RefusedError
from slipstream.web.services.metric_rows import MetricFiles
from slipstream.web.services.runs import find_run, phases_of, summarize

MOST = 8
"""More columns than that nobody can read, and there are as many colours."""


@dataclass(frozen=True)
class Item:
    """A run, or one at the checkpoint of `step`."""

    run: str
    step: int | None = None

    @property
    def spec(self) -> str:
        """As an address writes it: `name` or `name@step`."""
        return self.run if self.step is None else f"{self.run}@{self.step}"


@dataclass(frozen=True)
class Compared:
    """The figures of a run; None where it has none."""

    run: str
    state: str
    step: int
    loss: float | None
    """Smoothed, of the last update."""
    best_validation: float | None
    seconds_per_step: float | None
    total_seconds: float
    memory_gib: float | None
    rank: int | None
    images: int | None


def read_items(text: str) -> tuple[Item, ...]:
    """The items of `a,b@200`, each once, at most `MOST`. A name may hold an @ that no step follows."""
    found: dict[Item, None] = {}
    for spec in text.split(","):
        name, at, step = spec.strip().rpartition("@")
        if at and name and step.isdecimal() and len(step) <= 9:
            found[Item(name, int(step))] = None
        elif spec.strip():
            found[Item(spec.strip())] = None
    return tuple(found)[:MOST]


def address_of(items: Iterable[Item]) -> str:
    """The address that names these items, the other way round."""
    return "/compare?runs=" + quote(",".join(one.spec for one in items), safe=",@")


def existing(runs_dir: Path, items: Sequence[Item]) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """The items whose runs are there, and the names of those that are not."""
    there: list[Item] = []
    missing: list[str] = []
    for item in items:
        try:
            find_run(runs_dir, item.run)
            there.append(item)
        except RefusedError:
            missing.append(item.run)
    return tuple(there), tuple(missing)


def figures(run: RunDir, metrics: MetricFiles) -> Compared:
    """What a comparison shows of a run beside its curves and pictures."""
    summary = summarize(run)
    manifest = read_object(run.manifest)
    losses = column(metrics.rows(run.metrics), "loss")
    best = best_row(read_rows(run.validation))
    return Compared(
        run=run.name,
        state=summary.state,
        step=summary.step,
        loss=smoothed(losses, smoothing_window(len(losses)))[-1] if losses else None,
        best_validation=None if best is None else best["loss"],
        seconds_per_step=summary.seconds_per_step,
        total_seconds=sum(phases_of(run, metrics).seconds.values()),
        memory_gib=summary.memory_gib,
        rank=(manifest.get("lora") or {}).get("rank"),
        images=(manifest.get("dataset") or {}).get("num_images"),
    )

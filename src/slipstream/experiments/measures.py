"""The figures of a run that arms are compared by, read from its folder; whatever it lacks is None."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal

from slipstream.reports.curves import smoothed, smoothing_window
from slipstream.reports.facts import column
from slipstream.runs.drift import read_rows as read_drift
from slipstream.runs.layout import RunDir
from slipstream.runs.metrics import read_metrics
from slipstream.runs.progress import read_progress
from slipstream.runs.validation import read_rows

MeasureName = Literal["loss", "held_out", "drift", "seconds", "memory"]


@dataclass(frozen=True)
class Measure:
    """One figure of a run: what it is called, its unit, how it is read, and which share of it makes no difference."""

    name: MeasureName
    title: str
    unit: str
    read: Callable[[RunDir], float | None]
    negligible: float = 0.0


def final_loss(run: RunDir) -> float | None:
    """The training loss at the end, smoothed over about a twentieth of the run."""
    losses = column(read_metrics(run.metrics), "loss")
    return smoothed(losses, smoothing_window(len(losses)))[-1] if losses else None


def held_out_loss(run: RunDir) -> float | None:
    """The last loss on held-out pictures."""
    rows = read_rows(run.validation)
    return rows[-1]["loss"] if rows else None


def drift_rows(run: RunDir) -> list[tuple[float, float]]:
    """(step, drift score) of every measurement."""
    return [(row["step"], row["score"]) for row in read_drift(run.drift)]


def final_drift(run: RunDir) -> float | None:
    """The last drift score."""
    rows = drift_rows(run)
    return rows[-1][1] if rows else None


def seconds_per_step(run: RunDir) -> float | None:
    """The median time of an update: previews and the slow first ones do not move it."""
    seconds = column(read_metrics(run.metrics), "seconds")
    return median(seconds) if seconds else None


def peak_memory(run: RunDir) -> float | None:
    """The most memory that training took."""
    progress = read_progress(run)
    return progress.memory_gib if progress is not None else None


MEASURES: tuple[Measure, ...] = (
    Measure("drift", "Drift score", "", final_drift),
    Measure("held_out", "Held-out loss", "", held_out_loss),
    Measure("loss", "Final training loss, smoothed", "", final_loss),
    Measure("seconds", "Time per update", "s", seconds_per_step, 0.01),
    Measure("memory", "Peak memory", "GiB", peak_memory, 0.01),
)


def figures_of(run: RunDir) -> Mapping[MeasureName, float | None]:
    """All figures of a run."""
    return {measure.name: measure.read(run) for measure in MEASURES}

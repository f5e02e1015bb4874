"""How a run stands: its state as a chip, its progress as a bar, its loss as a small line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nicegui import ui

from slipstream.runs.progress import MIB
from slipstream.web.parts.say import say
from slipstream.web.services.runs import RunDetail, RunSummary

_SPARK = (120, 32)


@dataclass(frozen=True)
class Chip:
    """A chip that may be set later."""

    label: ui.label

    def show(self, state: str) -> None:
        """Show a state."""
        if self.label.text != state_text(state):
            self.label.set_text(state_text(state))
            self.label.classes(replace=f"r-chip r-chip-{state}")


def state_chip(state: str) -> Chip:
    """A state as a word with a colour."""
    return Chip(ui.label(state_text(state)).classes(f"r-chip r-chip-{state}"))


def state_text(state: str) -> str:
    """A state in words."""
    return say(f"runs.state_{state}")


def phase_text(detail: RunDetail) -> str:
    """What a run is doing now, and how far that is."""
    summary = detail.summary
    if not summary.phase:
        return ""
    name = phase_name(summary.phase)
    if detail.phase_unit == MIB:
        counted = f"{detail.phase_done / 1024:.1f} / {detail.phase_total / 1024:.1f} GiB"
    else:
        counted = f"{detail.phase_done:,} / {detail.phase_total:,}" if detail.phase_total else ""
    return " · ".join(part for part in (name, counted, detail.phase_detail) if part)


_PHASES = {
    "read dataset, find model": "reading", "load text encoder": "text_encoder", "encode captions": "captions",
    "load VAE": "vae", "encode pictures": "pictures", "load transformer": "transformer", "training": "training",
    "previews": "previews", "validation": "validation", "save checkpoint": "saving", "push to hub": "push",
    "drift": "drift", "load model": "model", "look at training pictures": "looking", "rank": "ranking",
}  # fmt: skip
"""Phases as a worker calls them, and the names of their texts."""


def phase_name(phase: str) -> str:
    """A phase in words; one that has none is called what the worker calls it."""
    return say(f"runs.phase_{_PHASES[phase]}") if phase in _PHASES else phase


def share_done(summary: RunSummary) -> float:
    """Updates done, as a share of all."""
    return min(1.0, summary.step / summary.steps) if summary.steps else 0.0


def pace_text(seconds: float | None) -> str:
    """Seconds a step, in the larger unit that is above 1."""
    if not seconds:
        return "–"
    return f"{seconds:.2f} s/it" if seconds >= 1 else f"{1000 * seconds:.0f} ms/it"


def loss_text(loss: float | None) -> str:
    """A loss with four digits."""
    return "–" if loss is None else f"{loss:.4g}"


def spark_svg(values: Sequence[float], label: str) -> str:
    """A small line of values, without axes; nothing where there are fewer than two."""
    width, height = _SPARK
    points = spark_points(values, width, height)
    if not points:
        return ""
    return (
        f'<svg class="r-spark" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}"><polyline points="{points}"/></svg>'
    )


def spark_points(values: Sequence[float], width: float, height: float) -> str:
    """Corners of the line in a box of that size, two pixels from its edges."""
    if len(values) < 2:
        return ""
    low, span = min(values), (max(values) - min(values)) or 1.0
    across = (width - 4) / (len(values) - 1)
    return " ".join(
        f"{2 + index * across:.1f},{height - 2 - (value - low) / span * (height - 4):.1f}"
        for index, value in enumerate(values)
    )

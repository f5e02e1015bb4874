"""A run in a list: picture, name, state, progress, loss."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from nicegui import ui

from slipstream.reports.facts import duration
from slipstream.web.parts.cards import bar
from slipstream.web.parts.run_state import Chip, loss_text, pace_text, share_done, spark_svg, state_chip
from slipstream.web.parts.say import say
from slipstream.web.services.run_cards import LastPreview, RunCard
from slipstream.web.services.runs import RunSummary

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_SIDE = 128


@dataclass
class RunRow:
    """A row that may be told how its run stands now."""

    card: RunCard
    picture: ui.element
    chip: Chip
    progress: ui.linear_progress
    steps: ui.label
    figures: ui.label
    spark: ui.html
    message: ui.label

    def show(self, card: RunCard) -> None:
        """Change what changed."""
        if card == self.card:
            return
        summary = card.summary
        self.chip.show(summary.state)
        self.progress.set_value(round(share_done(summary), 3))
        self.steps.set_text(steps_text(summary))
        self.figures.set_text(figures_text(summary))
        self.message.set_text(_first_line(summary.message))
        if card.spark != self.card.spark:
            self.spark.set_content(spark_svg(card.spark, say("runs.spark")))
        if card.preview != self.card.preview:
            self.picture.clear()
            with self.picture:
                _picture(summary.name, card.preview)
        self.card = card


def run_row(card: RunCard, *, selected: bool = False, on_select: Callable[[bool], None] | None = None) -> RunRow:
    """A row that leads to the run's page; with `on_select` it has a box to tick."""
    summary = card.summary
    with ui.element("article").classes("r-run"):
        if on_select is not None:
            box = ui.checkbox(value=selected, on_change=lambda event: on_select(bool(event.value)))
            box.props(f'dense aria-label="{say("runs.select", name=_attribute(summary.name))}"')
        with ui.element("div").classes("r-run-picture") as picture:
            _picture(summary.name, card.preview)
        with ui.element("div").classes("r-run-main"):
            with ui.element("div").classes("r-run-head"):
                ui.link(summary.name, run_address(summary.name)).classes("r-run-name")
                chip = state_chip(summary.state)
            progress = bar(share_done(summary), say("runs.progress"))
            with ui.element("div").classes("r-run-line"):
                steps = ui.label(steps_text(summary))
                figures = ui.label(figures_text(summary)).classes("s-note")
            message = ui.label(_first_line(summary.message)).classes("r-run-message")
        spark = ui.html(spark_svg(card.spark, say("runs.spark")), sanitize=False).classes("r-run-spark")
    return RunRow(card, picture, chip, progress, steps, figures, spark, message)


def run_address(name: str) -> str:
    """The page of a run."""
    return f"/runs/{quote(name, safe='')}"


def thumbnail_address(name: str, preview: LastPreview, side: int = _SIDE) -> str:
    """A small copy of a preview."""
    place = f"/api/runs/{quote(name, safe='')}/previews/{preview.step}/{preview.prompt}/thumbnail"
    return f"{place}?side={side}&v={preview.version}"


def steps_text(summary: RunSummary) -> str:
    """Updates done of all."""
    return say("runs.steps", step=f"{summary.step:,}", steps=f"{summary.steps:,}")


def figures_text(summary: RunSummary) -> str:
    """Loss, pace and what is left of a running one; of others when they last changed."""
    parts = [say("runs.loss_is", loss=loss_text(summary.loss))] if summary.loss is not None else []
    if summary.state == "running":
        parts += [pace_text(summary.seconds_per_step)] if summary.seconds_per_step else []
        parts += [say("runs.left", time=duration(summary.eta_seconds))] if summary.eta_seconds else []
    else:
        parts.append(ago(time.time() - summary.changed))
    return " · ".join(parts)


def ago(seconds: float) -> str:
    """How long ago, in words."""
    if seconds < _MINUTE:
        return say("runs.ago_now")
    for name, size, until in (("minutes", _MINUTE, _HOUR), ("hours", _HOUR, _DAY)):
        if seconds < until:
            return say(f"runs.ago_{name}", count=int(seconds // size))
    return say("runs.ago_days", count=int(seconds // _DAY))


def _picture(name: str, preview: LastPreview | None) -> None:
    if preview is None:
        ui.icon("image").classes("r-run-none").props('aria-hidden="true"')
        return
    address = thumbnail_address(name, preview)
    ui.element("img").props(f'src="{address}" alt="" loading="lazy" decoding="async"')


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _attribute(text: str) -> str:
    return text.replace('"', "'")

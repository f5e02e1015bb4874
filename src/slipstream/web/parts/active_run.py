"""A run that goes on, as a card: what it is doing, how far it is, its newest pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

from nicegui import ui

from slipstream.reports.facts import duration
from slipstream.web.parts.cards import card, figure
from slipstream.web.parts.run_row import run_address, thumbnail_address
from slipstream.web.parts.run_state import Chip, loss_text, pace_text, phase_text, share_done, spark_svg, state_chip
from slipstream.web.parts.say import say
from slipstream.web.services.run_cards import LastPreview, RunCard
from slipstream.web.services.run_look import RunLook

_PICTURES = 4
_SIDE = 256


@dataclass
class ActiveRun:
    """A card that may be told how its run stands now."""

    chip: Chip
    phase: ui.label
    bar: ui.linear_progress
    spark: ui.html
    pictures: ui.element
    figures: dict[str, ui.label] = field(default_factory=dict)
    seen: tuple[RunLook, RunCard] | None = None

    def show(self, look: RunLook, run_card: RunCard) -> None:
        """Change what changed."""
        before, self.seen = self.seen, (look, run_card)
        if before == self.seen:
            return
        summary = look.detail.summary
        self.chip.show(summary.state)
        self.phase.set_text(phase_text(look.detail))
        self.bar.set_value(round(share_done(summary), 3))
        texts = {
            "step": f"{summary.step:,} / {summary.steps:,}",
            "loss": loss_text(summary.loss),
            "pace": pace_text(summary.seconds_per_step),
            "left": duration(summary.eta_seconds) if summary.eta_seconds else "–",
        }
        for name, text in texts.items():
            self.figures[name].set_text(text)
        if before is None or before[1].spark != run_card.spark:
            self.spark.set_content(spark_svg(run_card.spark, say("runs.spark")))
        if before is None or before[0].newest != look.newest:
            self.pictures.clear()
            with self.pictures:
                _pictures(look)


def active_run(look: RunLook, run_card: RunCard) -> ActiveRun:
    """Build the card."""
    summary = look.detail.summary
    with card(), ui.element("div").classes("r-active"):
        with ui.element("div").classes("r-run-main"):
            with ui.element("div").classes("r-run-head"):
                ui.link(summary.name, run_address(summary.name)).classes("r-active-name")
                chip = state_chip(summary.state)
            phase = ui.label().classes("r-phase").props('role="status"')
            bar = ui.linear_progress(0, show_value=False).classes("s-bar")
            bar.props(f'instant-feedback rounded aria-label="{say("runs.progress")}"')
            with ui.element("div").classes("r-active-row"):
                with ui.element("div").classes("r-figures"):
                    names = ("step", "loss", "pace", "left")
                    figures = {name: figure(say(f"run.figure_{name}"), "–") for name in names}
                spark = ui.html("", sanitize=False).classes("r-run-spark")
        pictures = ui.element("div").classes("r-active-pictures")
    shown = ActiveRun(chip, phase, bar, spark, pictures, figures)
    shown.show(look, run_card)
    return shown


def _pictures(look: RunLook) -> None:
    if look.newest is None:
        return
    name = look.detail.summary.name
    for prompt, text in look.newest.prompts[:_PICTURES]:
        address = thumbnail_address(name, LastPreview(look.newest.step, prompt, look.newest.version), _SIDE)
        picture = ui.element("img").props('loading="lazy" decoding="async"')
        picture.props["src"], picture.props["alt"], picture.props["title"] = address, text, text

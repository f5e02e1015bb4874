"""Tables of an experiment: a column for each arm."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from nicegui import ui

from slipstream.experiments.comparison import Comparison, Contrast, MeasureComparison
from slipstream.experiments.sentences import plus_minus
from slipstream.web.parts.experiment_arms import arm_name
from slipstream.web.parts.experiment_words import figure_text, interval_text
from slipstream.web.parts.say import say


def arm_table(headings: Sequence[str], *, arms_from: int) -> Any:
    """A table with a column for each arm after some others; rows go into its block."""
    with ui.element("div").classes("r-table-box").props('tabindex="0"'), ui.element("table").classes("r-table x-table"):
        with ui.element("thead"), ui.element("tr"):
            for place, heading in enumerate(headings):
                with ui.element("th").props('scope="col"'):
                    if place >= arms_from:
                        arm_name(place - arms_from, heading)
                    else:
                        ui.label(heading)
        return ui.element("tbody")


def figure_table(comparison: Comparison) -> None:
    """Means of the arms by measure, and their differences from the first arm."""
    first, others = comparison.arms[0], comparison.arms[1:]
    style = "r-table x-table x-figures"
    with ui.element("div").classes("r-table-box").props('tabindex="0"'), ui.element("table").classes(style):
        with ui.element("thead"), ui.element("tr"):
            with ui.element("th").props('scope="col"'):
                ui.label(say("experiments.mean"))
            for number, label in enumerate(comparison.arms):
                with ui.element("th").props('scope="col"'):
                    arm_name(number, label)
            for label in others:
                with ui.element("th").props('scope="col"'):
                    ui.label(say("experiments.minus", other=label, first=first))
        with ui.element("tbody"):
            for one in comparison.measures:
                _figure_row(one, comparison.arms)


def _figure_row(one: MeasureComparison, arms: Sequence[str]) -> None:
    """A measure: the mean of each arm, then the differences; on a phone each stands under its own heading."""
    with ui.element("tr"):
        with ui.element("th").props('scope="row"'):
            ui.label(say(f"experiments.measure_{one.measure}"))
        for arm, values in zip(arms, one.values, strict=True):
            known = [value for value in values if value is not None]
            with ui.element("td") as cell:
                cell.props["data-label"] = arm
                ui.label(figure_text(fmean(known) if known else None, one.unit))
        for contrast in one.contrasts:
            with ui.element("td") as cell:
                cell.props["data-label"] = say("experiments.minus", other=arms[contrast.arm], first=arms[0])
                _difference(contrast, one.unit)


def _difference(contrast: Contrast, unit: str) -> None:
    pairs = contrast.pairs
    if contrast.verdict not in ("different_scale", "same"):
        ui.label(plus_minus(pairs, unit)).classes("r-strong")
        signs = say("experiments.signs", lower=pairs.lower, higher=pairs.higher)
        ui.label(" · ".join(filter(None, (interval_text(pairs), signs)))).classes("s-note")
    ui.label(say(f"experiments.verdict_{contrast.verdict}")).classes("s-note")

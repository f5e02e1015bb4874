"""Arms of an experiment: their names with their colours, and states of their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from nicegui import ui

from slipstream.experiments.standing import State
from slipstream.web.parts.say import say
from slipstream.web.theme import SERIES


def experiment_address(name: str) -> str:
    """The page of an experiment."""
    return f"/experiments/{quote(name, safe='')}"


def colour_of(arm: int) -> str:
    """An arm's colour, the same in curves, tables and headings."""
    return SERIES[arm % len(SERIES)]


def arm_name(arm: int, label: str) -> None:
    """An arm's name with its colour."""
    with ui.element("span").classes("x-arm"):
        ui.element("span").classes("r-swatch").style(f"background: {colour_of(arm)}")
        ui.label(label)


def arm_names(labels: Sequence[str]) -> None:
    """All arms in a line, the first one as what the others stand against."""
    with ui.element("div").classes("x-arms"):
        for number, label in enumerate(labels):
            if number == 1:
                ui.label(say("experiments.against")).classes("s-note")
            arm_name(number, label)


def state_chip(state: str) -> None:
    """A run's state as a word with a colour."""
    ui.label(say(f"experiments.state_{state}")).classes(f"r-chip r-chip-{state}")


def state_counts(counts: Mapping[State, int]) -> None:
    """A chip for each state of runs that are not finished; one where all are."""
    open_ = {state: count for state, count in counts.items() if state != "finished"}
    if not open_:
        state_chip("finished")
    for state, count in open_.items():
        ui.label(f"{say(f'experiments.state_{state}')} · {count}").classes(f"r-chip r-chip-{state}")

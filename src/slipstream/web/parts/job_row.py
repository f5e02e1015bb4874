"""A job in the queue: what it is, how far it is, and what may be done with it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nicegui import ui

from slipstream.jobs.job import WAITING
from slipstream.reports.facts import duration
from slipstream.web.parts.run_row import ago, run_address
from slipstream.web.parts.run_state import loss_text, pace_text, phase_name
from slipstream.web.parts.say import say
from slipstream.web.services.queue_board import Action, JobCard, actions_of

ICONS: dict[Action, str] = {
    "pause": "pause", "resume": "play_arrow", "up": "arrow_upward", "down": "arrow_downward",
    "front": "vertical_align_top", "edit": "edit", "stop": "stop_circle", "kill": "dangerous", "requeue": "replay",
    "clone": "content_copy", "remove": "delete",
}  # fmt: skip
_ON_THE_ROW: tuple[Action, ...] = ("up", "down", "pause", "resume", "kill", "requeue")
Act = Callable[[JobCard, Action], Awaitable[None]]


@dataclass
class JobRow:
    """A row whose figures may be set later; another state needs another row."""

    card: JobCard
    bar: ui.linear_progress | None
    figures: ui.label

    def show(self, card: JobCard) -> None:
        """Change what changed."""
        if self.bar is not None:
            self.bar.set_value(_share(card))
        self.figures.set_text(figures_text(card))
        self.card = card


def job_row(card: JobCard, act: Act, *, place: int | None = None) -> JobRow:
    """Build a row; `place` is its turn among those that wait."""
    with ui.element("div").classes("r-job-main"):
        with ui.element("div").classes("r-run-head"):
            if place is not None:
                ui.label(str(place)).classes("r-place-number")
            if card.run is None:
                ui.label(card.name).classes("r-strong")
            else:
                ui.link(card.name, run_address(card.run)).classes("r-run-link")
            ui.label(say(f"queue.state_{card.state}")).classes(f"r-chip r-chip-{card.state}")
            if card.kind != "train":
                ui.label(kind_text(card.kind)).classes("r-chip")
        bar = None
        if card.steps:
            bar = ui.linear_progress(_share(card), show_value=False).classes("s-bar")
            bar.props(f'instant-feedback rounded aria-label="{say("runs.progress")}"')
        figures = ui.label(figures_text(card)).classes("s-note")
        if card.message:
            ui.label(card.message).classes("r-job-message" if card.state == "failed" else "s-note")
    with ui.element("div").classes("r-job-buttons"):
        _buttons(card, act)
    return JobRow(card, bar, figures)


def _buttons(card: JobCard, act: Act) -> None:
    allowed = actions_of(card)
    shown = [one for one in allowed if one in _ON_THE_ROW or (one == "stop" and card.state not in WAITING)]
    for action in shown:
        button = (
            ui.button(icon=ICONS[action], on_click=lambda action=action: act(card, action))
            .props("flat round color=none")
            .classes("r-icon")
        )
        button.props["aria-label"] = say(f"queue.{action}_job", name=card.name)
        button.tooltip(say(f"queue.{action}"))
    rest = [one for one in allowed if one not in shown]
    if not rest:
        return
    with ui.button(icon="more_vert").props("flat round color=none").classes("r-icon") as more:
        more.props["aria-label"] = say("queue.more_job", name=card.name)
        with ui.menu().props("auto-close"):
            for action in rest:
                with ui.menu_item(on_click=lambda action=action: act(card, action)).classes("r-menu-item"):
                    ui.icon(ICONS[action]).props('aria-hidden="true" size="20px"')
                    ui.label(say(f"queue.{action}"))


def _share(card: JobCard) -> float:
    return round(min(1.0, card.step / card.steps), 3) if card.steps else 0.0


_KINDS = {"train": "train", "caption": "caption", "rank": "rank"}


def kind_text(kind: str) -> str:
    """A kind of job in words; one that has none is called what the queue calls it."""
    return say(f"queue.kind_{_KINDS[kind]}") if kind in _KINDS else kind


def figures_text(card: JobCard) -> str:
    """Where a job stands: of one that runs its pace and what is left, of others since when."""
    parts = [say("runs.steps", step=f"{card.step:,}", steps=f"{card.steps:,}")] if card.steps else []
    if card.state in ("running", "stopping"):
        parts += [phase_name(card.phase)] if card.phase and card.phase != "training" else []
        parts += [say("runs.loss_is", loss=loss_text(card.loss))] if card.loss is not None else []
        parts += [pace_text(card.seconds_per_step)] if card.seconds_per_step else []
        parts += [say("runs.left", time=duration(card.eta_seconds))] if card.eta_seconds else []
    elif card.ended is None:
        parts.append(say("queue.since", ago=ago(time.time() - card.created)))
    else:
        parts.append(ago(time.time() - card.ended))
    if card.resumes:
        parts.append(say("queue.resumed", count=card.resumes))
    return " · ".join(parts)

"""Cards, figures and empty states."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nicegui import ui


@contextmanager
def card(title: str | None = None, *, note: str | None = None) -> Iterator[ui.element]:
    """A card with a heading; what is built within the block goes into it."""
    with ui.element("section").classes("s-card") as section:
        if title:
            ui.label(title).classes("s-card-title").props('role="heading" aria-level="2"')
        if note:
            ui.label(note).classes("s-note")
        yield section


@contextmanager
def card_grid() -> Iterator[ui.element]:
    """Cards beside each other, as many as fit."""
    with ui.element("div").classes("s-grid") as grid:
        yield grid


def figure(label: str, value: str, note: str = "") -> ui.label:
    """One figure with what it is; returns the label of its value, whose text may be set later."""
    with ui.element("div").classes("s-figure"):
        ui.label(label).classes("s-figure-label")
        shown = ui.label(value).classes("s-figure-value")
        if note:
            ui.label(note).classes("s-note")
    return shown


def bar(share: float, label: str) -> ui.linear_progress:
    """A bar that stands still; `label` tells a screen reader what it shows."""
    line = ui.linear_progress(round(share, 3), show_value=False).classes("s-bar")
    return line.props(f'instant-feedback rounded aria-label="{label}"')


@contextmanager
def empty_state(icon: str, title: str, text: str) -> Iterator[ui.element]:
    """What stands where there is nothing yet, and how to get something there; buttons go into the block."""
    with ui.element("div").classes("s-empty") as box:
        ui.icon(icon).classes("s-empty-icon").props('aria-hidden="true"')
        ui.label(title).classes("s-empty-title")
        ui.label(text).classes("s-note")
        with ui.row().classes("q-mt-sm"):
            yield box

"""Runs: a list with what each is doing, its loss and its newest picture; and the page of one run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

from nicegui import ui

from slipstream.web.pages import run
from slipstream.web.pages.page import Page
from slipstream.web.parts.cards import empty_state
from slipstream.web.parts.frame import frame
from slipstream.web.parts.live import while_visible
from slipstream.web.parts.run_row import RunRow, run_row
from slipstream.web.parts.say import say
from slipstream.web.services.run_cards import Pages, RunCard, RunCards, chosen_runs, page_of
from slipstream.web.services.runs import list_runs
from slipstream.web.studio import Studio

_SECONDS = 2.0
_PAGE = 20
_STATES = ("running", "created", "finished", "stopped", "failed", "killed")


def register(studio: Studio) -> None:
    """Declare the list and the page of a run."""
    cards = RunCards()

    @ui.page("/runs")
    async def runs() -> None:
        with frame(studio, "runs"):
            await _List(studio, cards).build()

    run.register(studio)


PAGE = Page("runs", "/runs", "timeline", register)


@dataclass(frozen=True)
class _Found:
    """What the list shows now, how many runs there are, and how many were chosen."""

    cards: list[RunCard]
    pages: Pages
    chosen: int
    total: int


@dataclass
class _List:
    """The list with its filters. Rows stay while the same runs are shown, and are told what changed."""

    studio: Studio
    cards: RunCards
    text: str = ""
    state: str = ""
    page: int = 1
    selected: set[str] = field(default_factory=set)
    _rows: dict[str, RunRow] = field(default_factory=dict)
    _shown: _Found | None = None

    async def build(self) -> None:
        """Filters, rows, pages; looked at again while the page is visible."""
        with ui.row().classes("r-filters"):
            search = ui.input(say("runs.search"), on_change=lambda event: self._filter(text=event.value or ""))
            search.props('outlined dense clearable debounce="250" type="search"').classes("r-filter-text")
            options = {"": say("runs.all_states"), **{state: say(f"runs.state_{state}") for state in _STATES}}
            choice = ui.select(
                options, value="", label=say("runs.state"), on_change=lambda e: self._filter(state=e.value)
            )
            choice.props("outlined dense").classes("r-filter-state")
            ui.space()
            self.compare = ui.button(say("runs.compare"), on_click=self._compare).props("no-caps outline")
            self.compare.bind_enabled_from(self, "selected", lambda chosen: len(chosen) > 1)
        self.status = ui.label().classes("s-note").props('role="status"')
        self.box = ui.element("div").classes("r-list")
        self.turner = ui.row().classes("r-pages")
        await self.look()
        while_visible(_SECONDS, self.look)

    async def _filter(self, **values: str) -> None:
        for name, value in values.items():
            setattr(self, name, value)
        self.page = 1
        await self.look()

    async def look(self) -> None:
        """Show what there is now."""
        found = await asyncio.to_thread(self._find)
        if found == self._shown:
            return
        names = [card.summary.name for card in found.cards]
        if self._shown is not None and names == list(self._rows) and names:
            for card in found.cards:
                self._rows[card.summary.name].show(card)
        else:
            self._rebuild(found)
        self._shown = found

    def _find(self) -> _Found:
        runs_dir = self.studio.settings.runs_dir
        everything = list_runs(runs_dir)
        chosen = chosen_runs(everything, (self.state,) if self.state else (), self.text)
        pages = page_of(len(chosen), self.page, _PAGE)
        return _Found(self.cards.of(runs_dir, chosen[pages.span]), pages, len(chosen), len(everything))

    def _rebuild(self, found: _Found) -> None:
        self._rows = {}
        self.box.clear()
        self.turner.clear()
        self.status.set_text(say("runs.count", chosen=found.chosen, total=found.total) if found.total else "")
        with self.box:
            for card in found.cards:
                name = card.summary.name
                self._rows[name] = run_row(card, selected=name in self.selected, on_select=self._selector(name))
            if not found.cards:
                _nothing(found.total)
        with self.turner:
            if found.pages.count > 1:
                ui.pagination(1, found.pages.count, value=found.pages.number, on_change=lambda e: self._turn(e.value))

    def _selector(self, name: str) -> Callable[[bool], None]:
        def select(on: bool) -> None:
            self.selected = self.selected | {name} if on else self.selected - {name}

        return select

    async def _turn(self, number: int) -> None:
        self.page = number
        await self.look()

    def _compare(self) -> None:
        ui.navigate.to(f"/compare?runs={','.join(quote(name, safe='') for name in sorted(self.selected))}")


def _nothing(total: int) -> None:
    if total:
        with empty_state("filter_alt_off", say("runs.none_match"), say("runs.none_match_text")):
            pass
        return
    with empty_state("timeline", say("runs.none"), say("runs.none_text")):
        ui.button(say("runs.new"), on_click=lambda: ui.navigate.to("/new")).props("no-caps unelevated")

"""The dashboard's part about runs: those that go on, and the last ones."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nicegui import ui

from slipstream.core.errors import SlipstreamError
from slipstream.runs.layout import RunDir
from slipstream.web.parts.active_run import ActiveRun, active_run
from slipstream.web.parts.cards import card, empty_state
from slipstream.web.parts.live import while_visible
from slipstream.web.parts.run_row import RunRow, run_row
from slipstream.web.parts.say import say
from slipstream.web.services.queue import queue_of
from slipstream.web.services.run_cards import RunCard, RunCards
from slipstream.web.services.run_look import RunLook, look_at_run
from slipstream.web.services.runs import list_runs
from slipstream.web.studio import Studio

if TYPE_CHECKING:
    from slipstream.web.services.queue_board import Counts

_SECONDS = 2.0
_RECENT = 5
_MOST_ACTIVE = 8


@dataclass(frozen=True)
class _Now:
    """Runs that go on, with a look at each, and the last others."""

    queue: Counts | str
    """What is in the queue, or why it cannot be told."""
    active: tuple[tuple[RunLook, RunCard], ...]
    recent: tuple[RunCard, ...]


def _queue_text(found: Counts | str) -> str:
    if isinstance(found, str):
        return found
    return say("queue.counts", active=found.active, waiting=found.waiting)


@dataclass
class RunsNow:
    """What goes on and what came last; parts stay where the same runs are shown."""

    studio: Studio
    cards: RunCards
    looks: dict[str, RunLook] = field(default_factory=dict)
    actives: dict[str, ActiveRun] = field(default_factory=dict)
    rows: dict[str, RunRow] = field(default_factory=dict)
    shown: bool = False

    async def build(self) -> None:
        """Both lists; looked at again while the page is visible."""
        self.active_box = ui.element("div").classes("r-stack")
        with card(), ui.element("div").classes("r-section"):
            with ui.element("div"):
                ui.label(say("nav.queue")).classes("s-card-title").props('role="heading" aria-level="2"')
                self.queue = ui.label().classes("s-note").props('role="status"')
            ui.link(say("queue.open"), "/queue").classes("r-link")
        self.recent_box = ui.element("div").classes("r-stack")
        # a studio that was just started has not loaded the database's library yet: its first page does not wait for it
        await self.look(with_queue=False)
        ui.timer(0, self.look, once=True)
        while_visible(_SECONDS, self.look)

    async def look(self, *, with_queue: bool = True) -> None:
        """Show what there is now."""
        now = await asyncio.to_thread(self._find, with_queue)
        self.queue.set_text(_queue_text(now.queue))
        active = [look.detail.summary.name for look, _ in now.active]
        recent = [one.summary.name for one in now.recent]
        if not self.shown or active != list(self.actives) or recent != list(self.rows):
            self._rebuild(now)
            return
        for look, one in now.active:
            self.actives[one.summary.name].show(look, one)
        for one in now.recent:
            self.rows[one.summary.name].show(one)

    def _find(self, with_queue: bool) -> _Now:
        waiting = self._count() if with_queue else ""
        runs_dir = self.studio.settings.runs_dir
        everything = list_runs(runs_dir)
        running = sorted((one for one in everything if one.state == "running"), key=lambda one: one.name)
        running = running[:_MOST_ACTIVE]
        rest = [one for one in everything if one.state != "running"][:_RECENT]
        looks = {one.name: look_at_run(RunDir(runs_dir / one.name), self.looks.get(one.name)) for one in running}
        self.looks = looks
        cards = self.cards.of(runs_dir, running)
        active = tuple((looks[one.summary.name], one) for one in cards)
        return _Now(waiting, active, tuple(self.cards.of(runs_dir, rest)))

    def _count(self) -> Counts | str:
        from slipstream.web.services.queue_board import count

        try:
            return count(queue_of(self.studio.settings))
        except SlipstreamError as error:
            return error.message

    def _rebuild(self, now: _Now) -> None:
        self.shown = True
        self.actives, self.rows = {}, {}
        self.active_box.clear()
        self.recent_box.clear()
        with self.active_box:
            for look, one in now.active:
                self.actives[one.summary.name] = active_run(look, one)
        with self.recent_box:
            self._recent(now)

    def _recent(self, now: _Now) -> None:
        if not now.active and not now.recent:
            with (
                card(),
                empty_state("rocket_launch", say("dashboard.welcome"), say("dashboard.welcome_text")),
            ):
                new = ui.button(say("runs.new"), icon="add", on_click=lambda: ui.navigate.to("/new"))
                new.props("no-caps unelevated")
            return
        if now.recent:
            with ui.element("div").classes("r-section"):
                ui.label(say("dashboard.recent")).classes("s-card-title").props('role="heading" aria-level="2"')
                ui.link(say("dashboard.all_runs"), "/runs").classes("r-link")
            with ui.element("div").classes("r-list"):
                self.rows = {one.summary.name: run_row(one) for one in now.recent}

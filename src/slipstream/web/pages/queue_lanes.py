"""The lanes of the queue's page: what runs on each device, what waits for its turn, and what has ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from nicegui import ui

from slipstream.jobs import control
from slipstream.jobs.job import ANY
from slipstream.web.parts.cards import card, empty_state
from slipstream.web.parts.confirm import confirmed
from slipstream.web.parts.job_row import JobRow, job_row
from slipstream.web.parts.live import steady, while_visible
from slipstream.web.parts.notices import tell, told
from slipstream.web.parts.say import say
from slipstream.web.services.machine import Gpu
from slipstream.web.services.queue import queue_of
from slipstream.web.services.queue_actions import act, drop
from slipstream.web.services.queue_board import Action, Board, JobCard, Lane, board
from slipstream.web.studio import Studio

_SECONDS = 1.5
_FEW_ENDED = 10
_QUESTIONS: tuple[Action, ...] = ("kill", "remove")
_ANYWHERE = "(e) => e.preventDefault()"


@dataclass
class QueueLanes:
    """The lanes; rows stay while the same jobs are in the same states, and are told how far they are."""

    studio: Studio
    gpus: dict[str, Gpu]
    devices: tuple[str, ...]
    ended: int = _FEW_ENDED
    seen: Board | None = None
    rows: dict[int, JobRow] = field(default_factory=dict)
    dragged: int | None = None

    async def build(self) -> None:
        """Everything; looked at again while the page is visible."""
        self.box = ui.element("div").classes("r-stack")
        await self.look()
        while_visible(_SECONDS, self.look)

    def _find(self) -> Board:
        devices = (*self.devices, ANY) if len(self.devices) > 1 else self.devices
        return board(queue_of(self.studio.settings), self.studio.settings.runs_dir, devices, ended=self.ended)

    async def look(self) -> None:
        """Show what there is now."""
        found = await asyncio.to_thread(self._find)
        before, self.seen = self.seen, found
        if found == before:
            return
        if before is not None and _outline(before) == _outline(found):
            for one in _all_cards(found):
                self.rows[one.id].show(one)
            return
        self._rebuild(found)

    def _rebuild(self, found: Board) -> None:
        self.rows = {}
        self.box.clear()
        with self.box:
            if not any(_all_cards(found)):
                with card(), empty_state("low_priority", say("queue.none"), say("queue.none_text")):
                    new = ui.button(say("runs.new"), icon="add", on_click=lambda: ui.navigate.to("/new"))
                    new.props("no-caps unelevated")
            for lane in found.lanes:
                self._lane(lane)
            if found.ended:
                self._ended(found)

    def _lane(self, lane: Lane) -> None:
        with card():
            with ui.element("div").classes("r-section"):
                with ui.element("div"):
                    ui.label(self._title(lane)).classes("s-card-title").props('role="heading" aria-level="2"')
                    ui.label(self._note(lane)).classes("s-note")
                self._lane_button(lane)
            for one in lane.active:
                with ui.element("div").classes("r-job r-job-active"):
                    self.rows[one.id] = job_row(one, self._act)
            for place, one in enumerate(lane.waiting, 1):
                self._waiting(lane, one, place)
            self._last_place(lane)

    def _title(self, lane: Lane) -> str:
        if lane.name == ANY:
            return say("queue.any")
        if lane.name in self.gpus:
            return f"GPU {self.gpus[lane.name].index} · {self.gpus[lane.name].name}"
        return say("queue.cpu") if lane.name == "cpu" else lane.name

    def _note(self, lane: Lane) -> str:
        if lane.paused:
            return say("queue.lane_paused")
        if not lane.active and not lane.waiting:
            return say("queue.any_note") if lane.name == ANY else say("queue.lane_free")
        return say("queue.lane_counts", active=len(lane.active), waiting=len(lane.waiting))

    def _lane_button(self, lane: Lane) -> None:
        async def turn() -> None:
            todo = control.resume_queue if lane.paused else control.pause_queue
            with steady():
                with told():
                    await asyncio.to_thread(todo, queue_of(self.studio.settings), lane.name)
                await self.look()

        name = "resume_queue" if lane.paused else "pause_queue"
        button = ui.button(say(f"queue.{name}"), icon="play_arrow" if lane.paused else "pause", on_click=turn)
        button.props("no-caps flat dense").props["aria-label"] = f"{say(f'queue.{name}')}: {self._title(lane)}"

    def _waiting(self, lane: Lane, one: JobCard, place: int) -> None:
        row = ui.element("div").classes("r-job r-job-waiting").props('draggable="true"')
        row.on("dragstart", lambda: self._take(one.id), args=[])
        row.on("dragover", js_handler=_ANYWHERE)
        row.on("drop.prevent", lambda: self._drop(lane, one.id), args=[])
        with row:
            ui.icon("drag_indicator").classes("r-handle").props('aria-hidden="true"')
            self.rows[one.id] = job_row(one, self._act, place=place)

    def _last_place(self, lane: Lane) -> None:
        """Where a job is dropped that shall be the lane's last."""
        place = ui.element("div").classes("r-drop")
        place.on("dragover", js_handler=_ANYWHERE)
        place.on("drop.prevent", lambda: self._drop(lane, None), args=[])

    def _take(self, job_id: int) -> None:
        self.dragged = job_id

    async def _drop(self, lane: Lane, before: int | None) -> None:
        job_id, self.dragged = self.dragged, None
        if job_id is None or job_id == before:
            return
        with steady():
            with told():
                await asyncio.to_thread(drop, queue_of(self.studio.settings), job_id, lane.name, before)
            await self.look()

    async def _act(self, one: JobCard, action: Action) -> None:
        with steady():
            if action == "edit":
                ui.navigate.to(f"/new?job={one.id}")
                return
            if action in _QUESTIONS and not await _asked(one, action):
                return
            lanes = self.seen.lanes if self.seen else ()
            lane = next((lane for lane in lanes if one.id in {card.id for card in lane.waiting}), None)
            with told():
                job = await asyncio.to_thread(act, queue_of(self.studio.settings), one.id, action, lane)
                if action == "clone" and job is not None:
                    tell(say("queue.cloned", name=job.name))
            await self.look()

    def _ended(self, found: Board) -> None:
        with card(say("queue.ended")):
            for one in found.ended:
                with ui.element("div").classes("r-job"):
                    self.rows[one.id] = job_row(one, self._act)
            if found.num_ended > len(found.ended):
                more = ui.button(say("queue.more", count=found.num_ended - len(found.ended)), on_click=self._more)
                more.props("no-caps flat")

    async def _more(self) -> None:
        self.ended += 50
        await self.look()


async def _asked(one: JobCard, action: Action) -> bool:
    title, text = say(f"queue.{action}_title"), say(f"queue.{action}_text", name=one.name)
    return await confirmed(title, text, yes=say(f"queue.{action}"), no=say("run.cancel"))


def _all_cards(found: Board) -> list[JobCard]:
    return [*(one for lane in found.lanes for one in (*lane.active, *lane.waiting)), *found.ended]


def _outline(found: Board) -> tuple:
    """What rows are built from; where it is the same, only figures changed."""

    def row(one: JobCard) -> tuple:
        return one.id, one.name, one.state, one.message, one.run, bool(one.steps)

    lanes = tuple(
        (lane.name, lane.paused, *map(row, lane.active), None, *map(row, lane.waiting)) for lane in found.lanes
    )
    return lanes, tuple(map(row, found.ended)), found.num_ended

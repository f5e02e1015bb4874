"""Tabs of a run's page that are read rather than watched: checkpoints, config, facts, and the phases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from nicegui import ui

from slipstream.core.errors import SlipstreamError
from slipstream.reports.facts import duration, read_object, read_text
from slipstream.runs.layout import RunDir
from slipstream.web.pages.page import has_page
from slipstream.web.parts.cards import bar, card, empty_state
from slipstream.web.parts.confirm import confirmed
from slipstream.web.parts.live import steady
from slipstream.web.parts.notices import tell, told
from slipstream.web.parts.ranking_card import RankingCard
from slipstream.web.parts.run_row import ago
from slipstream.web.parts.run_state import phase_name
from slipstream.web.parts.say import say
from slipstream.web.services.checkpoints import Checkpoint, delete_checkpoint, list_checkpoints
from slipstream.web.services.comparison import Item, address_of
from slipstream.web.services.config_differences import from_defaults
from slipstream.web.services.metric_rows import MetricFiles
from slipstream.web.services.run_facts import run_facts
from slipstream.web.services.run_jobs import draft_from_checkpoint
from slipstream.web.services.runs import phases_of
from slipstream.web.studio import Studio

_MIB = 1024**2


def phases_card(run: RunDir, metrics: MetricFiles) -> Any:
    """Where the time went; has `refresh()`."""

    @ui.refreshable
    def content() -> None:
        seconds = phases_of(run, metrics).seconds
        whole = sum(seconds.values())
        if not whole:
            ui.label(say("run.no_phases")).classes("s-note")
        for name, spent in sorted(seconds.items(), key=lambda pair: -pair[1]):
            with ui.element("div").classes("r-phase-row"):
                ui.label(phase_name(name))
                bar(spent / whole, phase_name(name))
                ui.label(duration(spent)).classes("r-number")

    with card(say("run.phases")):
        content()
    return content


@dataclass(frozen=True)
class CheckpointsTab:
    """The tab with the LoRA files: `refresh()` lists them again, `look()` asks how their ranking stands."""

    refresh: Callable[[], Any]
    look: Callable[[], Awaitable[None]]


def checkpoints_tab(studio: Studio, run: RunDir) -> CheckpointsTab:
    """Which checkpoint to take, and the LoRA files."""
    ranking = RankingCard(studio, run)

    @ui.refreshable
    def content() -> None:
        found = list_checkpoints(run)
        if not found:
            with empty_state("inventory_2", say("run.no_checkpoints"), say("run.no_checkpoints_text")):
                pass
        for one in found:
            _checkpoint_row(studio, run, one, content.refresh)

    with card(say("run.tab_checkpoints"), note=say("run.checkpoints_note")):
        content()
    ui.timer(0, ranking.look, once=True)
    return CheckpointsTab(content.refresh, ranking.look)


def _checkpoint_row(studio: Studio, run: RunDir, one: Checkpoint, refresh: Any) -> None:
    with ui.element("div").classes("r-checkpoint"):
        with ui.element("div").classes("r-grow"):
            title = say("run.finished_lora") if one.step is None else say("run.at_step", step=f"{one.step:,}")
            with ui.element("div").classes("r-run-head"):
                ui.label(title).classes("r-strong")
                if one.best:
                    ui.label(say("run.best")).classes("r-chip r-chip-finished")
                if one.resumable:
                    ui.label(say("run.resumable")).classes("r-chip")
            ui.label(one.file).classes("s-mono s-note")
            ui.label(f"{one.size_bytes / _MIB:.1f} MiB · {ago(time.time() - one.changed)}").classes("s-note")
        address = f"/api/runs/{quote(run.name, safe='')}/checkpoints/{quote(one.file, safe='')}"
        link = ui.element("a").props(f'href="{address}" download').classes("r-button")
        link.props["aria-label"] = f"{say('run.download')} {one.file}"
        with link:
            ui.icon("download").props('aria-hidden="true"')
            ui.label(say("run.download"))
        _checkpoint_menu(studio, run, one, refresh)


def _checkpoint_menu(studio: Studio, run: RunDir, one: Checkpoint, refresh: Any) -> None:
    """What else may be done with a LoRA."""

    async def start_from() -> None:
        with told():
            name = await asyncio.to_thread(draft_from_checkpoint, studio.settings, run, one.file)
            ui.navigate.to(f"/new?draft={quote(name, safe='')}")

    with ui.button(icon="more_vert").props("flat round dense") as more:
        more.props["aria-label"] = say("run.more_one", file=one.file)
        with ui.menu().props("auto-close"):
            if has_page("playground"):
                place = f"/playground?run={quote(run.name, safe='')}&file={quote(one.file, safe='')}"
                _menu_item("brush", say("run.use"), lambda: ui.navigate.to(place))
            _menu_item("call_split", say("run.start_from"), start_from)
            if one.step is not None:
                item = Item(run.name, one.step)
                _menu_item("compare", say("run.compare_one"), lambda: ui.navigate.to(address_of([item])))
            _menu_item("delete", say("run.delete"), lambda: _confirm_delete(run, one, refresh))


def _menu_item(icon: str, text: str, on_click: Callable[[], Any]) -> None:
    with ui.menu_item(on_click=on_click).classes("r-menu-item"):
        ui.icon(icon).props('aria-hidden="true" size="20px"')
        ui.label(text)


async def _confirm_delete(run: RunDir, one: Checkpoint, refresh: Any) -> None:
    text = say("run.delete_text", file=one.file)
    with steady():
        if await confirmed(say("run.delete_title"), text, yes=say("run.delete"), no=say("run.cancel")):
            with told():
                await asyncio.to_thread(delete_checkpoint, run, one.file)
                tell(say("run.deleted"))
                refresh()


def config_tab(studio: Studio, run: RunDir) -> None:
    """What differs from the defaults, and the whole as YAML."""
    with card(say("run.differs"), note=say("run.differs_note")):
        try:
            found = from_defaults(run)
        except SlipstreamError as error:
            ui.label(error.message).classes("s-note")
            found = ()
        with ui.element("dl").classes("r-settings"):
            for one in found:
                with ui.element("dt").classes("s-mono"):
                    ui.label(one.setting)
                with ui.element("dd").classes("s-mono"):
                    ui.label(one.values[0]).classes("r-strong")
                    ui.label(say("run.default_is", value=one.values[1])).classes("s-note")
    with card(say("run.yaml")):
        ui.code(read_text(run.config), language="yaml").classes("r-code")


def facts_tab(studio: Studio, run: RunDir) -> Any:
    """What the run was made of; has `refresh()`."""

    @ui.refreshable
    def content() -> None:
        facts = run_facts(read_object(run.manifest))
        if not facts.groups:
            with empty_state("info", say("run.no_facts"), say("run.no_facts_text")):
                pass
            return
        where = " · ".join(part for part in (facts.device, facts.created) if part)
        with card(say("run.choices"), note=where), ui.element("ul").classes("r-choices"):
            for choice in facts.choices:
                with ui.element("li"):
                    ui.label(choice)
        with ui.element("div").classes("r-facts-grid"):
            for group in facts.groups:
                with card(say(f"run.facts_{group.name}")), ui.element("dl").classes("r-settings"):
                    for fact in group.facts:
                        with ui.element("dt"):
                            ui.label(fact.name)
                        with ui.element("dd").classes("s-mono"):
                            ui.label(fact.value)

    with ui.element("div").classes("s-column r-stack"):
        content()
    return content

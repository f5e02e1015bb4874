"""The page of one run: what it is doing, its curves and pictures, and asking it for something."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from nicegui import ui

from slipstream.reports.facts import duration
from slipstream.runs.layout import RunDir
from slipstream.web.pages.run_actions import actions
from slipstream.web.pages.run_tabs import checkpoints_tab, config_tab, facts_tab, phases_card
from slipstream.web.parts.browser import LogView, LossChart, PreviewWall
from slipstream.web.parts.cards import card, empty_state, figure
from slipstream.web.parts.findings_card import FindingsCard
from slipstream.web.parts.frame import frame
from slipstream.web.parts.live import while_visible
from slipstream.web.parts.run_state import (
    Chip,
    loss_text,
    pace_text,
    phase_text,
    share_done,
    state_chip,
)
from slipstream.web.parts.say import say
from slipstream.web.problems import RefusedError
from slipstream.web.services.run_jobs import has_job
from slipstream.web.services.run_look import RunLook, look_at_run
from slipstream.web.services.runs import find_run
from slipstream.web.studio import Studio

_SECONDS = 1.5
_WHEN_OPENED = ("checkpoints", "config", "facts")
"""Tabs that are built when they are first opened: the page comes sooner."""
_TABS = (("overview", "insights"), ("previews", "grid_view"), ("checkpoints", "inventory_2"), ("log", "article"),
         ("config", "tune"), ("facts", "info"))  # fmt: skip


def register(studio: Studio) -> None:
    """Declare the page."""

    @ui.page("/runs/{name}")
    async def run(name: str, tab: str = "overview") -> None:
        with frame(studio, "runs", title=name, wide=True):
            try:
                found = await asyncio.to_thread(find_run, studio.settings.runs_dir, name)
            except RefusedError:
                with empty_state("search_off", say("run.missing"), say("run.missing_text")):
                    ui.button(say("run.to_list"), on_click=lambda: ui.navigate.to("/runs")).props("no-caps unelevated")
                return
            await _RunPage(studio, found).build(tab)


@dataclass
class _RunPage:
    """The parts of the page that change while a run goes on."""

    studio: Studio
    run: RunDir
    figures: dict[str, ui.label] = field(default_factory=dict)
    seen: RunLook | None = None
    boxes: dict[str, ui.element] = field(default_factory=dict)
    opened: dict[str, Any] = field(default_factory=dict)

    async def build(self, tab: str) -> None:
        """Everything, then a look now and then while somebody looks."""
        look = await asyncio.to_thread(self._look)
        self._hero(look)
        with ui.tabs().classes("r-tabs") as tabs:
            tabs.props("no-caps align=left narrow-indicator")
            for name, icon in _TABS:
                ui.tab(name, label=say(f"run.tab_{name}"), icon=icon)
        first = tab if tab in dict(_TABS) else "overview"
        with ui.tab_panels(tabs, value=first, animated=False, keep_alive=True).classes("r-panels"):
            self._panels(look)
        self._open(first)
        tabs.on_value_change(lambda event: self._open(event.value))
        self._show(look)
        while_visible(_SECONDS, self.look)

    def _look(self) -> RunLook:
        waits = has_job(self.studio.settings, self.run)
        return look_at_run(self.run, self.seen, waits=waits, metrics=self.studio.metrics)

    def _hero(self, look: RunLook) -> None:
        with card():
            with ui.element("div").classes("r-hero-head"):
                self.chip: Chip = state_chip(look.detail.summary.state)
                self.phase = ui.label().classes("r-phase").props('role="status"')
                ui.space()
                self.actions = actions(self.studio, self.run, self.look)
            self.bar = ui.linear_progress(0, show_value=False).classes("s-bar")
            self.bar.props(f'instant-feedback rounded aria-label="{say("run.progress")}"')
            with ui.element("div").classes("r-figures"):
                for name in ("step", "loss", "pace", "left", "memory", "rate"):
                    self.figures[name] = figure(say(f"run.figure_{name}"), "–")
            self.message = ui.label().classes("r-message s-mono")

    def _panels(self, look: RunLook) -> None:
        name, running = self.run.name, look.running
        with ui.tab_panel("overview"), ui.element("div").classes("r-overview"):
            self.findings = FindingsCard(self.studio, self.run)
            with card(say("run.curves")) as curves:
                curves.classes("r-curves")
                self.chart = LossChart([name], version=look.detail.summary.step)
            with card(say("run.newest")):
                self.newest = ui.element("div").classes("r-newest")
            self.phases = phases_card(self.run, self.studio.metrics)
        with ui.tab_panel("previews"):
            self.wall = PreviewWall(name, version=look.previews_version, running=running)
        with ui.tab_panel("log"):
            self.log = LogView(name, running=running)
        for name in _WHEN_OPENED:
            with ui.tab_panel(name):
                self.boxes[name] = ui.element("div").classes("r-stack")

    def _open(self, tab: str) -> None:
        """Build a tab that waits for being opened."""
        builders = {"checkpoints": checkpoints_tab, "config": config_tab, "facts": facts_tab}
        if tab in builders and tab not in self.opened:
            with self.boxes[tab]:
                self.opened[tab] = builders[tab](self.studio, self.run)

    async def look(self) -> None:
        """Show how the run stands now."""
        look = await asyncio.to_thread(self._look)
        if look != self.seen:
            self._show(look)
        if "checkpoints" in self.opened:
            await self.opened["checkpoints"].look()

    def _show(self, look: RunLook) -> None:
        before, self.seen = self.seen, look
        summary = look.detail.summary
        self.chip.show(summary.state)
        self.phase.set_text(phase_text(look.detail) if look.running else "")
        self.bar.set_value(round(share_done(summary), 3))
        texts = {
            "step": f"{summary.step:,} / {summary.steps:,}",
            "loss": loss_text(summary.loss),
            "pace": pace_text(summary.seconds_per_step),
            "left": duration(summary.eta_seconds) if look.running and summary.eta_seconds else "–",
            "memory": f"{summary.memory_gib:.2f} GiB" if summary.memory_gib else "–",
            "rate": f"{look.detail.learning_rate:.3g}" if look.detail.learning_rate else "–",
        }
        for name, text in texts.items():
            if self.figures[name].text != text:
                self.figures[name].set_text(text)
        self.message.set_text(summary.message)
        self.message.set_visibility(bool(summary.message))
        self.actions.show(look)
        self.chart.now(version=look.curves_version)
        self.wall.now(version=look.previews_version, running=look.running)
        self.log.now(running=look.running)
        self._show_slow(before, look)

    def _show_slow(self, before: RunLook | None, look: RunLook) -> None:
        """What is built anew: only where it changed."""
        if before is None or before.newest != look.newest:
            self.newest.clear()
            with self.newest:
                newest_row(self.run.name, look)
        if before is None or before.findings != look.findings:
            self.findings.show(look.findings)
        if before is None:
            return
        if before.checkpoints_version != look.checkpoints_version and "checkpoints" in self.opened:
            self.opened["checkpoints"].refresh()
        if before.phases_version != look.phases_version:
            self.phases.refresh()
            if "facts" in self.opened:
                self.opened["facts"].refresh()


def newest_row(name: str, look: RunLook) -> None:
    """The pictures of the newest checkpoint that has any."""
    if look.newest is None:
        ui.label(say("run.no_previews")).classes("s-note")
        return
    from slipstream.web.parts.run_row import thumbnail_address
    from slipstream.web.services.run_cards import LastPreview

    ui.label(say("run.newest_step", step=f"{look.newest.step:,}")).classes("s-note")
    with ui.element("div").classes("r-newest-grid"):
        for prompt, text in look.newest.prompts:
            address = thumbnail_address(name, LastPreview(look.newest.step, prompt, look.newest.version), 256)
            picture = ui.element("img").props('loading="lazy" decoding="async"')
            picture.props["src"], picture.props["alt"], picture.props["title"] = address, text, text

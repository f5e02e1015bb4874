"""The page of one experiment: what it found, how its runs stand, and arms beside each other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from nicegui import ui

from slipstream.core.errors import SlipstreamError
from slipstream.experiments.experiment import Experiment
from slipstream.reports.facts import duration
from slipstream.web.parts.browser import Column, CompareWall, LossChart
from slipstream.web.parts.cards import card, empty_state
from slipstream.web.parts.experiment_arms import arm_names, colour_of, state_chip, state_counts
from slipstream.web.parts.experiment_tables import arm_table, figure_table
from slipstream.web.parts.experiment_words import findings, limits, note_text
from slipstream.web.parts.frame import frame
from slipstream.web.parts.live import while_visible
from slipstream.web.parts.notices import told
from slipstream.web.parts.run_row import run_address
from slipstream.web.parts.run_state import loss_text, phase_name
from slipstream.web.parts.say import say
from slipstream.web.services.experiments import (
    ExperimentDetail,
    RunOfExperiment,
    describe,
    find_experiment,
    finished_runs,
    go_on,
)
from slipstream.web.services.run_look import look_at_run
from slipstream.web.studio import Studio

_SECONDS = 2.0


def register(studio: Studio) -> None:
    """Declare the page."""

    @ui.page("/experiments/{name}")
    async def experiment(name: str) -> None:
        with frame(studio, "experiments", title=name, wide=True):
            try:
                found = await asyncio.to_thread(find_experiment, studio.settings, name)
            except SlipstreamError:
                with empty_state("science", say("experiments.missing"), say("experiments.missing_text")):
                    ui.button(say("experiments.all"), on_click=lambda: ui.navigate.to("/experiments")).props(
                        "no-caps unelevated"
                    )
                return
            await _ExperimentPage(studio, found).build()


@dataclass
class _ExperimentPage:
    """The parts of the page. Runs are told anew at every look; what compares them when another one has finished."""

    studio: Studio
    experiment: Experiment
    detail: ExperimentDetail = field(init=False)
    seed: int = field(init=False)
    _parts: list[Any] = field(default_factory=list)

    async def build(self) -> None:
        """Everything, then a look now and then."""
        self.detail = await asyncio.to_thread(describe, self.studio.settings, self.experiment)
        self.seed = self.experiment.seeds[0]
        self.head = ui.refreshable(self._head)
        self.grid = ui.refreshable(self._grid)
        self.said = ui.refreshable(self._said)
        self.table = ui.refreshable(self._figures)
        self.head()
        self.said()
        with card(say("experiments.runs"), note=self._runs_note()):
            self.grid()
        self._differences()
        self.table()
        self.box = ui.column().classes("s-column")
        await self._curves_and_pictures()
        with card(say("experiments.command"), note=say("experiments.command_note")):
            ui.label(self.detail.command).classes("s-mono x-command")
        while_visible(_SECONDS, self.look)

    async def look(self) -> None:
        """Tell every part what is new."""
        before = self.detail
        self.detail = await asyncio.to_thread(describe, self.studio.settings, self.experiment, before)
        if self.detail == before:
            return
        self.grid.refresh()
        if self.detail.summary != before.summary:
            self.head.refresh()
        if finished_runs(self.detail.runs) != finished_runs(before.runs):
            self.said.refresh()
            self.table.refresh()
        if [one.exists for one in self.detail.runs] != [one.exists for one in before.runs]:
            await self._curves_and_pictures()
        elif self.chart is not None:
            curves, pictures = await asyncio.to_thread(self._versions)
            self.chart.now(version=curves)
            self.wall.now(version=pictures)

    def _head(self) -> None:
        summary = self.detail.summary
        with ui.element("section").classes("s-card"), ui.element("div").classes("r-hero-head"):
            state_counts(summary.counts)
            arm_names(summary.arms)
            ui.label(say("experiments.seeds", seeds=", ".join(map(str, summary.seeds)))).classes("s-note")
            ui.space()
            if any(summary.counts.get(state) for state in ("new", "stopped", "failed")):
                ui.button(say("experiments.go_on"), icon="replay", on_click=self._go_on).props("no-caps outline")
            done = say("experiments.done", done=summary.counts.get("finished", 0), total=summary.num_runs)
            ui.label(done).classes("s-note").props('role="status"')
            address = f"/api/experiments/{quote(summary.name, safe='')}/report"
            with ui.link(target=address, new_tab=True).classes("r-button"):
                ui.icon("description").props('aria-hidden="true"')
                ui.label(say("experiments.report"))

    async def _go_on(self) -> None:
        with told():
            await asyncio.to_thread(go_on, self.studio.settings, self.experiment)
            await self.look()

    def _said(self) -> None:
        comparison = self.detail.comparison
        with card(say("experiments.findings")):
            for text in findings(comparison):
                ui.label(text).classes("x-finding")
            ui.label(say("experiments.limits")).classes("r-strong").props('role="heading" aria-level="3"')
            with ui.element("ul").classes("r-choices s-note"):
                for text in limits(comparison):
                    with ui.element("li"):
                        ui.label(text)

    def _runs_note(self) -> str:
        paired = self.detail.comparison.pairing.same_order
        return say("experiments.runs_note") if paired else say("experiments.runs_note_unpaired")

    def _grid(self) -> None:
        arms = self.detail.summary.arms
        with arm_table([say("experiments.seed"), *arms], arms_from=1):
            for seed in self.detail.summary.seeds:
                with ui.element("tr"):
                    with ui.element("th").props('scope="row"'):
                        ui.label(str(seed))
                    for one in (run for run in self.detail.runs if run.seed == seed):
                        with ui.element("td"):
                            _run_cell(one)

    def _differences(self) -> None:
        comparison = self.detail.comparison
        with card(say("experiments.differs"), note=say("experiments.differs_note")):
            with arm_table([say("experiments.setting"), *comparison.arms], arms_from=1):
                for one in comparison.differences:
                    with ui.element("tr").classes("s-mono"):
                        with ui.element("th").props('scope="row"'):
                            ui.label(one.setting)
                        for value in one.values:
                            with ui.element("td"):
                                ui.label(value)
            for note in comparison.pairing.notes:
                ui.label(note_text(note)).classes("x-note")

    def _figures(self) -> None:
        comparison = self.detail.comparison
        if comparison.measures:
            with card(say("experiments.figures"), note=say("experiments.figures_note")):
                figure_table(comparison)

    async def _curves_and_pictures(self) -> None:
        """Charts and pictures of the runs that there are."""
        self.chart: LossChart | None = None
        self.box.clear()
        runs = [one for one in self.detail.runs if one.exists]
        if not runs:
            return
        curves, pictures = await asyncio.to_thread(self._versions)
        labels = [f"{self._label(one)} · {say('experiments.seed_of', seed=one.seed)}" for one in runs]
        with self.box:
            with card(say("experiments.curves"), note=say("experiments.curves_note")):
                colours = [colour_of(one.arm) for one in runs]
                self.chart = LossChart([one.run for one in runs], version=curves, labels=labels, colours=colours)
            with card(say("experiments.pictures"), note=say("experiments.pictures_note")):
                self._seed_choice()
                self.wall_box = ui.element("div").classes("r-wall")
                self._wall(pictures)

    def _seed_choice(self) -> None:
        if len(self.experiment.seeds) > 1:
            self.seeds = ui.refreshable(self._seed_buttons)
            self.seeds()

    def _seed_buttons(self) -> None:
        with (
            ui.element("div")
            .classes("r-segments x-seeds")
            .props(f'role="group" aria-label="{say("experiments.seed")}"')
        ):
            for seed in self.experiment.seeds:
                pressed = str(seed == self.seed).lower()
                with ui.element("button").props(f'type="button" aria-pressed="{pressed}"') as button:
                    ui.label(say("experiments.seed_of", seed=seed))
                button.on("click", lambda seed=seed: self._turn(seed))

    async def _turn(self, seed: int) -> None:
        self.seed = seed
        self.seeds.refresh()
        _, pictures = await asyncio.to_thread(self._versions)
        self._wall(pictures)

    def _wall(self, version: int) -> None:
        runs = [one for one in self.detail.runs if one.exists and one.seed == self.seed]
        self.wall_box.clear()
        with self.wall_box:
            self.wall = CompareWall(
                [Column(one.run, self._label(one), None, colour_of(one.arm)) for one in runs], version=version
            )

    def _label(self, one: RunOfExperiment) -> str:
        return self.detail.summary.arms[one.arm]

    def _versions(self) -> tuple[float, int]:
        """What changes with every update, and with every picture."""
        looks = [
            look_at_run(self.experiment.run_dir(planned))
            for planned, one in zip(self.experiment.runs, self.detail.runs, strict=True)
            if one.exists
        ]
        return sum(look.curves_version for look in looks), sum(look.previews_version for look in looks)


def _run_cell(one: RunOfExperiment) -> None:
    """A run: its state, how far it is, and the way to its page."""
    with ui.element("div").classes("x-run"):
        state_chip(one.state)
        if one.exists:
            text = say("runs.steps", step=f"{one.step:,}", steps=f"{one.steps:,}")
            ui.link(text, run_address(one.run)).classes("r-link").props["aria-label"] = f"{one.run}: {text}"
    if one.state == "running":
        line = ui.linear_progress(round(one.step / max(1, one.steps), 3), show_value=False).classes("s-bar")
        line.props(f'instant-feedback rounded aria-label="{say("runs.progress")}"')
        parts = [phase_name(one.phase)] if one.phase and one.phase != "training" else []
        parts += [say("runs.loss_is", loss=loss_text(one.loss))] if one.loss is not None else []
        parts += [say("runs.left", time=duration(one.eta_seconds))] if one.eta_seconds else []
        ui.label(" · ".join(parts)).classes("s-note")
    if one.state == "failed":
        ui.label(one.message.partition("\n")[0]).classes("r-job-message")

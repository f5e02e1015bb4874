"""Experiments: a list with how far each is; and the page of one."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from nicegui import ui

from slipstream.web.pages import experiment
from slipstream.web.pages.page import Page
from slipstream.web.parts.cards import empty_state
from slipstream.web.parts.experiment_arms import arm_names, experiment_address, state_counts
from slipstream.web.parts.frame import frame
from slipstream.web.parts.live import while_visible
from slipstream.web.parts.new_experiment import NewExperiment
from slipstream.web.parts.run_row import ago
from slipstream.web.parts.say import say
from slipstream.web.services.experiments import ExperimentSummary, list_summaries
from slipstream.web.services.runs import list_runs
from slipstream.web.studio import Studio

_SECONDS = 3.0
_EXAMPLE = "slipstream ab my_style.yaml model.training_adapter=v1,v2 --seeds 3"


def register(studio: Studio) -> None:
    """Declare the list and the page of an experiment."""

    @ui.page("/experiments")
    async def experiments() -> None:
        with frame(studio, "experiments"):
            await _List(studio).build()

    experiment.register(studio)


PAGE = Page("experiments", "/experiments", "science", register)


@dataclass
class _List:
    """The list, looked at again while the page is visible."""

    studio: Studio
    _shown: list[ExperimentSummary] | None = field(default=None)

    async def build(self) -> None:
        """Rows, and the way to begin another one."""
        runs = [one.name for one in await asyncio.to_thread(list_runs, self.studio.settings.runs_dir)]
        with ui.row().classes("r-filters"):
            ui.space()
            new = ui.button(say("experiments.new"), icon="add", on_click=NewExperiment(self.studio.settings, runs).open)
            new.props("no-caps unelevated").set_enabled(bool(runs))
        self.box = ui.element("div").classes("r-list")
        await self.look()
        while_visible(_SECONDS, self.look)

    async def look(self) -> None:
        """Show what there is now."""
        found = await asyncio.to_thread(list_summaries, self.studio.settings)
        if found == self._shown:
            return
        self._shown = found
        self.box.clear()
        with self.box:
            for one in found:
                _row(one)
            if not found:
                with empty_state("science", say("experiments.none"), say("experiments.none_text")):
                    ui.label(_EXAMPLE).classes("s-mono x-command")


def _row(one: ExperimentSummary) -> None:
    with ui.element("article").classes("x-row"):
        with ui.element("div").classes("r-run-head"):
            ui.link(one.name, experiment_address(one.name)).classes("r-run-name")
            state_counts(one.counts)
        arm_names(one.arms)
        done = one.counts.get("finished", 0)
        line = ui.linear_progress(round(done / max(1, one.num_runs), 3), show_value=False).classes("s-bar")
        line.props(f'instant-feedback rounded aria-label="{say("experiments.progress")}"')
        with ui.element("div").classes("r-run-line s-note"):
            ui.label(say("experiments.done", done=done, total=one.num_runs))
            ui.label(ago(time.time() - one.created))

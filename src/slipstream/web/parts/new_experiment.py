"""Beginning an experiment: a run to start from, the settings to compare, and what that takes before it is begun."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from nicegui import ui

from slipstream.core.errors import SlipstreamError
from slipstream.experiments.arms import differing
from slipstream.experiments.experiment import Experiment
from slipstream.experiments.pairing import pairing
from slipstream.web.parts.experiment_arms import arm_names, experiment_address
from slipstream.web.parts.experiment_words import note_text
from slipstream.web.parts.notices import tell_error
from slipstream.web.parts.say import say
from slipstream.web.services.experiments import begin, plan
from slipstream.web.settings import StudioSettings

_EXAMPLES = (
    "model.training_adapter=v1,v2", "target.rank=8,16", "training.learning_rate=1e-4,2e-4",
    "training.timestep_bias=balanced,low_noise",
)  # fmt: skip
_MOST_SEEDS = 12


@dataclass
class NewExperiment:
    """The dialog. What was entered is checked as it changes; it can be begun once it is right."""

    settings: StudioSettings
    runs: list[str]
    planned: Experiment | None = field(default=None)

    def open(self) -> None:
        """Show it."""
        with ui.dialog() as self.dialog, ui.element("div").classes("s-card x-new"):
            ui.label(say("experiments.new")).classes("s-card-title").props('role="heading" aria-level="2"')
            ui.label(say("experiments.new_note")).classes("s-note")
            self.run = ui.select(self.runs, value=self.runs[0], label=say("experiments.from_run"), with_input=True,
                                 on_change=self._check)  # fmt: skip
            self.run.props("outlined dense")
            self.wanted = ui.textarea(say("experiments.compared"), on_change=self._check)
            self.wanted.props('outlined dense autogrow debounce="400" spellcheck="false"').classes("s-mono")
            with (
                ui.element("div").classes("r-segments x-examples").props(f'aria-label="{say("experiments.examples")}"')
            ):
                for example in _EXAMPLES:
                    with ui.element("button").props('type="button"') as button:
                        ui.label(example)
                    button.on("click", lambda example=example: self._add(example))
            self.seeds = ui.number(say("experiments.num_seeds"), value=3, min=1, max=_MOST_SEEDS, precision=0,
                                   on_change=self._check)  # fmt: skip
            self.seeds.props("outlined dense").classes("x-number")
            self.told = ui.element("div").classes("x-told").props('role="status"')
            with ui.row().classes("r-dialog-buttons"):
                ui.button(say("experiments.cancel"), on_click=self.dialog.close).props("no-caps flat")
                self.go = ui.button(say("experiments.begin"), on_click=self._begin).props("no-caps unelevated")
                self.go.set_enabled(False)
        self.dialog.on("hide", self.dialog.delete)
        self.dialog.open()

    def _lines(self) -> list[str]:
        return [line.strip() for line in (self.wanted.value or "").splitlines() if line.strip()]

    def _add(self, example: str) -> None:
        self.wanted.set_value("\n".join(dict.fromkeys((*self._lines(), example))))

    async def _check(self) -> None:
        """Say what it would be, or what is wrong with it."""
        self.planned = None
        self.told.clear()
        lines = self._lines()
        if lines and self.run.value:
            seeds = int(self.seeds.value or 1)
            try:
                self.planned = await asyncio.to_thread(plan, self.settings, self.run.value, lines, seeds, None)
            except SlipstreamError as error:
                self._show(partial(_wrong, error))
            else:
                self._show(partial(_summary, self.planned))
        self.go.set_enabled(self.planned is not None)

    def _show(self, build: Callable[[], None]) -> None:
        self.told.clear()
        with self.told:
            build()

    async def _begin(self) -> None:
        if self.planned is None:
            return
        self.go.set_enabled(False)
        try:
            made = await asyncio.to_thread(begin, self.settings, self.planned)
        except SlipstreamError as error:
            tell_error(error)
            self.go.set_enabled(True)
            return
        ui.navigate.to(experiment_address(made.name))


def _wrong(error: SlipstreamError) -> None:
    ui.label(error.message).classes("r-job-message")
    if error.fix:
        ui.label(error.fix).classes("s-note")


def _summary(planned: Experiment) -> None:
    """The arms, how many trainings they are, and what their pairs share."""
    arm_names([arm.label for arm in planned.arms])
    count = say("experiments.trainings", runs=len(planned.runs), arms=len(planned.arms), seeds=len(planned.seeds))
    ui.label(count).classes("r-strong")
    ui.label(say("experiments.differing", names=", ".join(one.setting for one in differing(planned.arms)))).classes(
        "s-note"
    )
    for note in pairing(planned).notes:
        ui.label(note_text(note)).classes("x-note")

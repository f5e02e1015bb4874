"""The list of LoRAs in the playground's form."""

from __future__ import annotations

import asyncio

from nicegui import ui

from slipstream.core.errors import SlipstreamError
from slipstream.web.parts.notices import tell_error
from slipstream.web.parts.playground.desk import Desk
from slipstream.web.parts.playground.state import FILE, RUN, LoraChoice, add_lora
from slipstream.web.parts.say import say
from slipstream.web.services.checkpoints import Checkpoint
from slipstream.web.services.playground.form import MOST_LORAS
from slipstream.web.services.playground.loras import RunLoras

_LOW, _HIGH = -1.0, 2.0


def show_loras(desk: Desk) -> None:
    """A row for each, and a field that adds one."""
    for number, lora in enumerate(desk.state.loras):
        _row(desk, number, lora)
    options = {f"{RUN}:{name}": name for name in desk.offered.runs}
    options |= {f"{FILE}:{name}": name for name in desk.offered.files}
    if not options:
        ui.label(say("playground.no_loras", folder=desk.settings.loras_dir)).classes("s-note")
        return
    if len(desk.state.loras) >= MOST_LORAS:
        return

    async def add(value: str | None) -> None:
        if not value:
            return
        kind, _, name = value.partition(":")
        try:
            await asyncio.to_thread(add_lora, desk.state, desk.settings, **{kind: name})
        except SlipstreamError as error:
            tell_error(error)
        desk.rebuild()

    field = ui.select(
        options, label=say("playground.add_lora"), with_input=True, on_change=lambda event: add(event.value)
    )
    field.props("outlined dense options-dense").classes("p-wide")


def _row(desk: Desk, number: int, lora: LoraChoice) -> None:
    name = lora.run or lora.file
    with ui.element("div").classes("p-lora"):
        with ui.element("div").classes("p-lora-head"):
            ui.label(name).classes("p-lora-name r-grow").props["title"] = name
            if isinstance(lora.about, RunLoras) and len(lora.about.checkpoints) > 1:
                _checkpoints(desk, lora, lora.about)

            def remove() -> None:
                desk.state.loras.pop(number)
                desk.rebuild()

            button = ui.button(icon="close", on_click=remove).props("flat round dense size=sm")
            button.props["aria-label"] = say("playground.remove_lora", name=name)
        with ui.element("div").classes("p-lora-weight"):
            slider = ui.slider(min=_LOW, max=_HIGH, step=0.05, value=lora.weight).props("dense")
            box = ui.number(value=lora.weight, min=-4, max=4, step=0.05, format="%.4g").classes("p-number")
            box.props("dense outlined hide-bottom-space")
            slider.props["aria-label"] = box.props["aria-label"] = say("playground.weight_of", name=name)
            _together(lora, slider, box)


def _together(lora: LoraChoice, slider: ui.slider, box: ui.number) -> None:
    """Slider and field show the same weight; the field goes further than the slider."""

    def slid(value: float) -> None:
        if value != _on_slider(lora.weight):
            lora.weight = round(float(value), 4)
            box.set_value(lora.weight)

    def typed(value: float | None) -> None:
        if value is not None and value != lora.weight:
            lora.weight = float(value)
            slider.set_value(_on_slider(lora.weight))

    slider.on_value_change(lambda event: slid(event.value))
    box.on_value_change(lambda event: typed(event.value))


def _on_slider(weight: float) -> float:
    return min(_HIGH, max(_LOW, weight))


def _checkpoints(desk: Desk, lora: LoraChoice, about: RunLoras) -> None:
    options = {one.file: checkpoint_label(one) for one in about.checkpoints}
    if lora.file not in options:
        options[lora.file] = lora.file

    def choose(file: str) -> None:
        lora.file = file

    field = ui.select(options, value=lora.file, on_change=lambda event: choose(event.value))
    field.props(f'dense outlined options-dense aria-label="{say("playground.checkpoint")}"').classes("p-checkpoint")


def checkpoint_label(one: Checkpoint) -> str:
    """The finished LoRA, or a step; the one with the lowest validation loss bears a star."""
    if one.step is None:
        return say("playground.finished_lora")
    return say("playground.best_step" if one.best else "playground.step", step=f"{one.step:,}")

"""The playground's form: base, LoRAs, prompt, picture, and what is compared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import get_args

from nicegui import ui

from slipstream.config.quantization import Precision
from slipstream.config.variants import VARIANTS, variant_of
from slipstream.web.parts.cards import card
from slipstream.web.parts.playground.axes import show_axes, start_grid
from slipstream.web.parts.playground.desk import Desk
from slipstream.web.parts.playground.lora_rows import show_loras
from slipstream.web.parts.playground.state import PlaygroundState
from slipstream.web.parts.say import say
from slipstream.web.services.playground.form import MOST_PICTURES, MOST_SIDE

_SHAPES = {"1:1": (1, 1), "4:3": (4, 3), "3:4": (3, 4), "3:2": (3, 2), "2:3": (2, 3), "16:9": (16, 9), "9:16": (9, 16)}
_STEP = 16


def show_form(desk: Desk, draw: Callable[[], Awaitable[None]]) -> None:
    """All cards of the form, and the button."""
    with card(say("playground.with_what")):
        _base(desk)
        show_loras(desk)
    with card(say("playground.what")):
        _prompt(desk, draw)
        _picture(desk)
    with card(say("playground.compared")):
        _compared(desk)
    _more(desk)
    _button(desk, draw)


def _base(desk: Desk) -> None:
    state = desk.state
    names = [*desk.offered.bases]
    names += [lora.base.model for lora in state.loras if lora.base is not None]
    names.append(state.model)

    def choose(name: str | None) -> None:
        if name and name.strip() != state.model:
            trained = next((one.base for one in state.loras if one.base is not None and one.base.model == name), None)
            if trained is None:
                state.take_base(name.strip())
            else:
                state.take_base(name, trained.variant, trained.extras_from or None)
            desk.rebuild()

    field = ui.select(
        list(dict.fromkeys(names)), value=state.model, label=say("playground.base"), with_input=True,
        new_value_mode="add-unique", on_change=lambda event: choose(event.value),
    )  # fmt: skip
    field.props(f'outlined dense options-dense hint="{VARIANTS[state.facts_variant].label}"').classes("p-wide")
    wrong = {
        lora.run or lora.file: lora.base.variant
        for lora in state.loras
        if lora.base is not None and lora.base.variant != state.facts_variant
    }
    for name, variant in wrong.items():
        ui.label(say("playground.other_base", name=name, base=VARIANTS[variant].label)).classes("p-hint")


def _prompt(desk: Desk, draw: Callable[[], Awaitable[None]]) -> None:
    state = desk.state
    field = ui.textarea(say("playground.prompt"), value=state.prompt).props(
        "outlined autogrow input-style=min-height:4.5em"
    )
    field.classes("p-wide").bind_value_to(state, "prompt", forward=lambda text: text or "")
    field.on("keydown.ctrl.enter", draw)
    field.on("keydown.meta.enter", draw)
    prompts = list(dict.fromkeys(one for lora in state.loras for one in getattr(lora.about, "prompts", ())))
    if state.trigger_words or prompts:
        with ui.element("div").classes("p-chips"):
            for word in state.trigger_words:
                _trigger(field, word)
            if prompts:
                _own_prompts(field, prompts)
    if state.guidance_scale_now > 1:
        negative = ui.textarea(say("playground.negative"), value=state.negative_prompt).props("outlined dense autogrow")
        negative.classes("p-wide").bind_value_to(state, "negative_prompt", forward=lambda text: text or "")


def _trigger(field: ui.textarea, word: str) -> None:
    def insert() -> None:
        text = str(field.value or "")
        if word not in text and "[trigger]" not in text:
            field.set_value(f"{word}, {text}" if text else word)

    chip = ui.element("button").classes("p-chip").props(f'type="button" title="{say("playground.insert_trigger")}"')
    with chip.on("click", insert):
        ui.icon("add").props('aria-hidden="true"')
        ui.label(word)


def _own_prompts(field: ui.textarea, prompts: list[str]) -> None:
    with ui.element("button").classes("p-chip").props('type="button"'):
        ui.icon("format_quote").props('aria-hidden="true"')
        ui.label(say("playground.own_prompts"))
        with ui.menu():
            for prompt in prompts[:40]:
                ui.menu_item(prompt, on_click=lambda _, text=prompt: field.set_value(text)).classes("p-menu-item")


def _number(
    state: PlaygroundState, name: str, label: str, low: float, high: float, *, step: float = 1,
    on_change: Callable[[], None] = lambda: None,
) -> ui.number:  # fmt: skip
    """A field for a number of the state; what it shows where nothing is filled in is the variant's."""
    shown = getattr(state, f"{name}_now", None)
    value = getattr(state, name) if shown is None else shown

    def write(value: float | None) -> None:
        whole = None if value is None else int(value) if step >= 1 else float(value)
        if whole is not None or shown is not None:
            setattr(state, name, whole)
            on_change()

    field = ui.number(
        label, value=value, min=low, max=high, step=step, format="%.0f" if step >= 1 else "%.4g",
        on_change=lambda event: write(event.value),
    )  # fmt: skip
    return field.props("outlined dense hide-bottom-space").classes("p-field")


def _picture(desk: Desk) -> None:
    state = desk.state
    with ui.element("div").classes("p-fields"):
        _number(state, "width", say("playground.width"), 64, MOST_SIDE, step=_STEP)
        _number(state, "height", say("playground.height"), 64, MOST_SIDE, step=_STEP)
        _number(state, "steps", say("playground.steps"), 1, 100, on_change=desk.changed)
        # the negative prompt is there where guidance is
        field = _number(state, "guidance_scale", say("playground.guidance"), 0, 30, step=0.5)
        field.on("blur", desk.rebuild)
    with ui.element("div").classes("p-chips"):
        for name, (across, down) in _SHAPES.items():
            chosen = _shape(state, across, down) == (state.width, state.height)
            chip = ui.element("button").classes("p-chip p-chip-chosen" if chosen else "p-chip")
            chip.props(f'type="button" aria-pressed="{str(chosen).lower()}"')

            def choose(across: int = across, down: int = down) -> None:
                state.width, state.height = _shape(state, across, down)
                desk.rebuild()

            with chip.on("click", lambda _, act=choose: act()):
                ui.element("span").classes("p-shape").style(f"aspect-ratio:{across}/{down}")
                ui.label(name)
    with ui.element("div").classes("p-fields p-seed"):
        seed = _number(state, "seed", say("playground.seed"), 0, 2**32 - 1)
        seed.set_enabled(not state.random_seed)
        box = ui.checkbox(say("playground.random_seed"), value=state.random_seed)
        box.bind_value_to(state, "random_seed").on_value_change(lambda event: seed.set_enabled(not event.value))
        count = _number(state, "count", say("playground.count"), 1, 64, on_change=desk.changed)
        count.set_enabled(not state.with_grid)


def _shape(state: PlaygroundState, across: int, down: int) -> tuple[int, int]:
    """Sides of that shape with about as many pixels as now, in steps of 16."""
    pixels = state.width * state.height
    width = (pixels * across / down) ** 0.5
    sides = (min(MOST_SIDE, max(64, round(side / _STEP) * _STEP)) for side in (width, width * down / across))
    return next(sides), next(sides)


def _compared(desk: Desk) -> None:
    state = desk.state
    without = ui.switch(say("playground.also_without"), value=state.without_lora and bool(state.loras))
    without.set_enabled(bool(state.loras) and not state.with_grid)

    def compare(on: bool) -> None:
        state.without_lora = on
        desk.changed()

    without.on_value_change(lambda event: compare(bool(event.value)))

    def turn(on: bool) -> None:
        state.with_grid = on
        if on:
            start_grid(desk)
        desk.rebuild()

    ui.switch(say("playground.grid"), value=state.with_grid, on_change=lambda event: turn(bool(event.value)))
    if state.with_grid:
        show_axes(desk)


def _more(desk: Desk) -> None:
    state = desk.state
    devices = {"auto": say("playground.device_auto")}
    for device in desk.offered.devices:
        busy = f" · {say('playground.busy_with', name=device.busy_with)}" if device.busy_with else ""
        devices[device.name] = f"{device.label} ({device.name}){busy}" if device.label != "CPU" else "CPU"
    if state.device not in devices:
        devices[state.device] = state.device
    with ui.expansion(say("playground.more_settings"), icon="tune").classes("s-card p-more-settings").props("dense"):
        ui.select(devices, value=state.device, label=say("playground.device")).props(
            "outlined dense options-dense"
        ).bind_value_to(state, "device")
        ui.select(list(get_args(Precision)), value=state.precision, label=say("playground.precision")).props(
            f'outlined dense options-dense hint="{say("playground.precision_hint")}"'
        ).bind_value_to(state, "precision")
        if any(device.busy_with for device in desk.offered.devices):
            ui.checkbox(say("playground.share_gpu"), value=state.share_gpu).bind_value_to(state, "share_gpu")


def _button(desk: Desk, draw: Callable[[], Awaitable[None]]) -> None:
    with ui.element("div").classes("p-draw"):
        button = ui.button(icon="brush", on_click=draw).props("unelevated no-caps").classes("p-draw-button")

        def show() -> None:
            count = desk.state.num_pictures
            button.set_text(say("playground.draw_one") if count == 1 else say("playground.draw_many", count=count))
            button.set_enabled(count <= MOST_PICTURES)

        show()
        desk.on_change[:] = [show]
        ui.label(say("playground.draw_keys")).classes("s-note r-only-wide")


def first_base(desk_bases: list[str], has_gpu: bool) -> str:
    """The base that a page without LoRAs begins with: a real one only where it can be drawn with."""
    return next(
        (name for name in desk_bases if variant_of(name) == "turbo" and (has_gpu or name.startswith("tiny/"))), ""
    )

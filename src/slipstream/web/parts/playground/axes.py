"""The grid in the playground's form: what differs along columns and rows."""

from __future__ import annotations

from typing import get_args

from nicegui import ui

from slipstream.web.parts.playground.desk import Desk
from slipstream.web.parts.playground.lora_rows import checkpoint_label
from slipstream.web.parts.playground.state import AxisChoice
from slipstream.web.parts.say import say
from slipstream.web.services.playground.form import MOST_VALUES, AxisKind
from slipstream.web.services.playground.loras import RunLoras

_USUAL = {"weight": "0, 0.4, 0.7, 1, 1.3", "steps": "4, 6, 8, 12", "guidance": "1, 2, 3, 4.5", "seed": "1, 2, 3, 4"}


def show_axes(desk: Desk) -> None:
    """Columns and rows."""
    with ui.element("div").classes("p-axes"):
        _axis(desk, desk.state.columns, "columns", required=True)
        _axis(desk, desk.state.rows, "rows", required=False)


def start_grid(desk: Desk) -> None:
    """The usual grid where none was filled in: weights, by checkpoints where there are some."""
    state = desk.state
    if not state.columns.kind:
        _take_kind(desk, state.columns, "weight" if state.loras else "seed")
        if len(_checkpoints(desk)) > 1 and not state.rows.kind:
            _take_kind(desk, state.rows, "checkpoint")


def _checkpoints(desk: Desk) -> list[str]:
    """The files of the first LoRA's run, from the first step to the finished one."""
    return list(reversed(desk.state.loras[0].files)) if desk.state.loras else []


def _take_kind(desk: Desk, axis: AxisChoice, kind: str) -> None:
    axis.kind, axis.text, axis.files = kind, _USUAL.get(kind, ""), []
    if kind == "checkpoint":
        axis.files = _checkpoints(desk)[-MOST_VALUES:]
    elif kind == "prompt":
        axis.text = desk.state.prompt


def _axis(desk: Desk, axis: AxisChoice, name: str, *, required: bool) -> None:
    kinds = [kind for kind in get_args(AxisKind) if desk.state.loras or kind not in ("weight", "checkpoint")]
    options = {} if required else {"": say("playground.no_axis")}
    options |= {kind: say(f"playground.axis_{kind}") for kind in kinds}
    if axis.kind not in options:
        _take_kind(desk, axis, kinds[0] if required else "")

    def choose(kind: str) -> None:
        _take_kind(desk, axis, kind)
        desk.rebuild()

    with ui.element("div").classes("p-axis"):
        field = ui.select(
            options, value=axis.kind, label=say(f"playground.{name}"), on_change=lambda e: choose(e.value)
        )
        field.props("outlined dense options-dense")
        if axis.kind == "checkpoint":
            _files(desk, axis)
        elif axis.kind:
            _text(desk, axis)


def _files(desk: Desk, axis: AxisChoice) -> None:
    about = desk.state.loras[0].about
    labels = {one.file: checkpoint_label(one) for one in about.checkpoints} if isinstance(about, RunLoras) else {}
    labels = {file: labels.get(file, file) for file in dict.fromkeys([*_checkpoints(desk), *axis.files])}

    def choose(files: list[str]) -> None:
        axis.files = [file for file in labels if file in files]
        desk.changed()

    field = ui.select(
        labels,
        value=axis.files,
        multiple=True,
        label=say("playground.checkpoints"),
        on_change=lambda e: choose(e.value),
    )
    field.props("outlined dense options-dense use-chips")


def _text(desk: Desk, axis: AxisChoice) -> None:
    def write(text: str) -> None:
        axis.text = text or ""
        desk.changed()

    label = say("playground.values_prompt" if axis.kind == "prompt" else "playground.values")
    make = ui.textarea if axis.kind == "prompt" else ui.input
    make(label, value=axis.text, on_change=lambda event: write(event.value)).props("outlined dense autogrow")

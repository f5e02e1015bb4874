"""From a form to pictures in rows and columns."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from slipstream.config.panel import MAX_SEED
from slipstream.config.variants import VARIANTS
from slipstream.data.captions import fill_trigger, has_word
from slipstream.drawings.request import LoraUse, PictureRequest
from slipstream.web.problems import RefusedError
from slipstream.web.services.playground.bases import variant_asked
from slipstream.web.services.playground.form import MOST_PICTURES, AxisForm, DrawingForm, LoraForm

Layout = Literal["batch", "pairs", "grid"]
Resolve = Callable[[LoraForm], Path]
_MOST_TEXT = 4000
_NUMBERS = {
    "weight": (-4.0, 4.0, False), "guidance": (0.0, 30.0, False), "steps": (1.0, 100.0, True),
    "seed": (0.0, float(MAX_SEED), True),
}  # fmt: skip
"""Axes of numbers: the lowest, the highest, and whether they are whole."""


@dataclass(frozen=True)
class Sheet:
    """Pictures by row and column: number = row * columns + column. `pairs`: the second row is without LoRA."""

    layout: Layout
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    pictures: tuple[PictureRequest, ...]


@dataclass(frozen=True)
class _Cell:
    """One picture on its way: settings that axes change."""

    prompt: str
    seed: int
    steps: int
    guidance_scale: float
    loras: tuple[LoraForm, ...]


def settled(form: DrawingForm) -> DrawingForm:
    """The form with what it left out: the variant's steps and guidance, and a seed."""
    facts = VARIANTS[variant_asked(form)]
    return form.model_copy(
        update={
            "variant": variant_asked(form),
            "steps": facts.preview_steps if form.steps is None else form.steps,
            "guidance_scale": facts.guidance_scale if form.guidance_scale is None else form.guidance_scale,
            "seed": secrets.randbelow(MAX_SEED - 1000) if form.seed is None else form.seed,
        }
    )


def sheet_of(form: DrawingForm, trigger_word: str, resolve: Resolve) -> Sheet:
    """The pictures of a settled form.

    Raises:
        RefusedError: there are too many, a value is none of its axis's (422), or a LoRA is missing (404).
    """
    assert form.seed is not None
    assert form.steps is not None
    assert form.guidance_scale is not None
    first = _Cell(form.prompt, form.seed, form.steps, form.guidance_scale, tuple(form.loras))
    if form.columns is not None:
        columns = _along(form.columns, form)
        rows = _along(form.rows, form) if form.rows is not None else [("", _unchanged)]
        cells = [change_column(change_row(first)) for _, change_row in rows for _, change_column in columns]
        layout: Layout = "grid"
        row_labels, labels = [label for label, _ in rows], [label for label, _ in columns]
    else:
        seeds = [(form.seed + number) % (MAX_SEED + 1) for number in range(form.count)]
        cells = [replace(first, seed=seed) for seed in seeds]
        labels, row_labels, layout = [str(seed) for seed in seeds], [""], "batch"
        if form.without_lora:
            off = tuple(lora.model_copy(update={"weight": 0.0}) for lora in form.loras)
            cells += [replace(cell, loras=off) for cell in cells]
            row_labels, layout = ["with", "without"], "pairs"
    if len(cells) > MOST_PICTURES:
        raise RefusedError(
            422, f"{len(cells)} pictures were asked for, at most {MOST_PICTURES} are drawn at once", where="columns",
            fix="give the grid fewer values.",
        )  # fmt: skip
    return Sheet(
        layout, tuple(row_labels), tuple(labels),
        tuple(_picture(cell, form, trigger_word, resolve) for cell in cells),
    )  # fmt: skip


def _unchanged(cell: _Cell) -> _Cell:
    return cell


def _along(axis: AxisForm, form: DrawingForm) -> list[tuple[str, Callable[[_Cell], _Cell]]]:
    """Label and change of every value of an axis."""
    if axis.kind in ("weight", "checkpoint") and axis.lora >= len(form.loras):
        raise RefusedError(
            422, f"the axis is of LoRA {axis.lora + 1}, and {len(form.loras)} are chosen", where="columns",
            fix="choose a LoRA first.",
        )  # fmt: skip
    return [(_label(value), _change(axis, value)) for value in (_value(axis, one) for one in axis.values)]


def _label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _change(axis: AxisForm, value: Any) -> Callable[[_Cell], _Cell]:
    if axis.kind == "weight":
        return lambda cell: replace(cell, loras=_changed(cell.loras, axis.lora, weight=value))
    if axis.kind == "checkpoint":
        return lambda cell: replace(cell, loras=_changed(cell.loras, axis.lora, file=value))
    name = {"guidance": "guidance_scale"}.get(axis.kind, axis.kind)
    return lambda cell: replace(cell, **{name: value})


def _changed(loras: Sequence[LoraForm], number: int, **changes: Any) -> tuple[LoraForm, ...]:
    return tuple(lora.model_copy(update=changes) if index == number else lora for index, lora in enumerate(loras))


def _value(axis: AxisForm, value: float | str) -> float | int | str:
    """A value of an axis in the type that it needs.

    Raises:
        RefusedError: it is none (422).
    """
    if axis.kind not in _NUMBERS:
        if isinstance(value, str) and 0 < len(value) <= _MOST_TEXT:
            return value
        raise _no_value(axis, value, "a text")
    low, high, whole = _NUMBERS[axis.kind]
    number = _number(value)
    if number is None or not low <= number <= high or (whole and number != int(number)):
        raise _no_value(axis, value, f"a {'whole ' if whole else ''}number from {low:g} to {high:.10g}")
    return int(number) if whole else number


def _number(value: float | str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _no_value(axis: AxisForm, value: float | str, expected: str) -> RefusedError:
    return RefusedError(
        422, f"got {str(value)[:60]!r} on an axis of the kind {axis.kind!r}, expected {expected}", where="values",
        fix="change the axis's values.",
    )  # fmt: skip


def _picture(cell: _Cell, form: DrawingForm, trigger_word: str, resolve: Resolve) -> PictureRequest:
    prompt = fill_trigger(cell.prompt, trigger_word)
    word = trigger_word.strip()
    return PictureRequest(
        prompt=prompt, seed=cell.seed, width=form.width, height=form.height, steps=cell.steps,
        guidance_scale=cell.guidance_scale, negative_prompt=fill_trigger(form.negative_prompt, trigger_word),
        loras=tuple(LoraUse(resolve(lora), lora.weight) for lora in cell.loras),
        has_trigger=has_word(prompt, word) if word else None,
    )  # fmt: skip

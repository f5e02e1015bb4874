"""The plan beside the form: pictures by bucket, steps, time and memory, from a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nicegui import background_tasks, ui

from slipstream.core.errors import SlipstreamError
from slipstream.web.parts.cards import figure
from slipstream.web.parts.job_form.desk import Desk
from slipstream.web.parts.say import say
from slipstream.web.services.configs import plan, read_config

_PAUSE_SECONDS = 4.0
_OFFLINE = "HF_HUB_OFFLINE"
"""What an error names that comes of planning without the network, as the studio does."""
_SHARE_CLASSES = ("s-share-0", "s-share-1", "s-share-2", "s-share-3")


@dataclass
class _Planned:
    """The newest plan, the text that it is of, and whether another one is being made."""

    text: str = ""
    found: Mapping[str, Any] | None = None
    error: SlipstreamError | None = None
    busy: bool = False


def show_plan(desk: Desk) -> None:
    """The card; a plan is made on demand, and by itself once nothing was changed for a while."""
    state = _Planned()

    async def make() -> None:
        if state.busy or desk.checked is None or not desk.checked.valid:
            return
        text = desk.draft.text
        state.busy = True
        content.refresh()
        try:
            config = read_config(text, desk.studio.settings.datasets_dir)
            state.found, state.error = await asyncio.to_thread(plan, config, download=False), None
        except SlipstreamError as error:
            state.found, state.error = None, error
        state.text, state.busy = text, False
        content.refresh()

    async def make_later(text: str) -> None:
        await asyncio.sleep(_PAUSE_SECONDS)
        if desk.draft.text == text and text != state.text:
            await make()

    def checked() -> None:
        content.refresh()
        if desk.checked is not None and desk.checked.valid and desk.draft.text != state.text:
            background_tasks.create(make_later(desk.draft.text), name="plan a config")

    @ui.refreshable
    def content() -> None:
        _show_state(desk, state, make)

    with ui.element("section").classes("s-card s-plan").props(f'aria-label="{say("newjob.plan")}"'):
        content()
    desk.on_check.append(checked)


def _show_state(desk: Desk, state: _Planned, make: Callable[[], Any]) -> None:
    valid = desk.checked is not None and desk.checked.valid
    old = state.text != desk.draft.text
    with ui.element("div").classes("s-set-head"):
        ui.label(say("newjob.plan")).classes("s-card-title").props('role="heading" aria-level="2"')
        ui.space()
        button = ui.button(say("newjob.plan_now"), on_click=make).props("no-caps flat dense")
        button.set_enabled(valid and not state.busy)
    if state.busy:
        ui.label(say("newjob.planning")).classes("s-note")
    elif not valid:
        ui.label(say("newjob.plan_waits")).classes("s-note")
    elif old:
        ui.label(say("newjob.plan_is_old" if state.found else "newjob.plan_soon")).classes("s-note")
    if state.error is not None and not old:
        _show_error(state.error)
    if state.found is not None:
        with ui.element("div").classes("s-plan-inside s-old" if old else "s-plan-inside"):
            _show_plan(state.found)


def _show_error(error: SlipstreamError) -> None:
    """Why there is no plan; a model that is still to be downloaded is no mistake."""
    if _OFFLINE in error.message:
        with ui.element("div").classes("s-finding s-advice"):
            ui.icon("cloud_download").props('aria-hidden="true"')
            ui.label(say("newjob.plan_needs_model"))
        return
    with ui.element("div").classes("s-set-problem").props('role="alert"'):
        ui.label(error.message)
        ui.label(error.fix or "").classes("s-set-fix")


def _show_plan(found: Mapping[str, Any]) -> None:
    with ui.element("div").classes("s-figures"):
        figure(say("newjob.time"), duration(float(found["training_seconds"])), say("newjob.time_note"))
        figure(say("newjob.steps"), f"{found['steps']:,}", say("newjob.epochs", number=f"{found['epochs']:.1f}"))
        figure(
            say("newjob.pictures"), f"{found['num_images']:,}", say("newjob.per_step", number=found["samples_per_step"])
        )
        figure(
            say("newjob.previews"), f"{found['num_preview_sets'] * found['pictures_per_set']:,}",
            say("newjob.checkpoints", number=found["num_checkpoints"]),
        )  # fmt: skip
    _show_memory(found)
    _show_buckets(found["buckets"])
    for cache in found["caches"]:
        text = say("newjob.cached", cached=cache["cached"], needed=cache["needed"], name=cache["name"])
        ui.label(text).classes("s-note")
    for note in found["notes"]:
        with ui.element("div").classes("s-finding s-advice"):
            ui.icon("info_outline").props('aria-hidden="true"')
            ui.label(note)
    with ui.expansion(say("newjob.choices_made")).classes("s-fold").props("dense"):
        for line in found["choices"]:
            ui.label(line.strip()).classes("s-mono")


def _show_memory(found: Mapping[str, Any]) -> None:
    """The peak of a step as one bar by what takes it, and in words those of the other phases."""
    shares = found["memory_shares"]
    total = sum(share["gib"] for share in shares) or 1.0
    ui.label(say("newjob.memory", gib=f"{total:.1f}")).classes("s-figure-label")
    described = ", ".join(f"{share['name']} {share['gib']:.1f}" for share in shares)
    with ui.element("div").classes("s-shares").props(f'role="img" aria-label="{described}"'):
        for share, colour in zip(shares, _SHARE_CLASSES, strict=False):
            ui.element("div").classes(colour).style(f"flex: {max(100 * share['gib'] / total, 0.1):.1f}")
    with ui.element("div").classes("s-legend"):
        for share, colour in zip(shares, _SHARE_CLASSES, strict=False):
            with ui.element("span"):
                ui.element("i").classes(colour)
                ui.label(f"{share['name']} {share['gib']:.1f} GiB")
    if peaks := found["memory_peaks"]:
        highest = max(peaks, key=lambda peak: peak["gib"])
        ui.label(
            say(
                "newjob.peaks", phase=say(f"newjob.peak_{highest['name']}"),
                gib=f"{highest['gib']:.1f}",
                all=", ".join(f"{say('newjob.peak_' + peak['name'])} {peak['gib']:.1f}" for peak in peaks),
            )
        ).classes("s-note")  # fmt: skip


def _show_buckets(buckets: list[Mapping[str, Any]]) -> None:
    """Every bucket as a bar of its pictures."""
    most = max((bucket["examples"] for bucket in buckets), default=1)
    with (
        ui.expansion(say("newjob.buckets", number=len(buckets)), value=len(buckets) <= 6)
        .classes("s-fold")
        .props("dense"),
        ui.element("div").classes("s-buckets"),
    ):
        for bucket in buckets:
            ui.label(f"{bucket['width']} × {bucket['height']}")
            with ui.element("div").classes("s-bucket"):
                ui.element("div").style(f"width: {100 * bucket['examples'] / most:.1f}%")
            ui.label(str(bucket["examples"]))


def duration(seconds: float) -> str:
    """Seconds in the two units that people think in."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes < 2880 else f"{minutes / 1440:.1f} d"

"""Captions by a model: what it is told, how far it is, and the way back."""

from __future__ import annotations

import asyncio
from functools import partial

from nicegui import ui

from slipstream.captioning.prompts import CUSTOM, PRESETS
from slipstream.captioning.request import DEFAULT_MODEL, SUGGESTED_MODELS, CaptionRequest, Overwrite
from slipstream.core.errors import SlipstreamError
from slipstream.web.pages.dataset.shown import Shown
from slipstream.web.parts.cards import bar
from slipstream.web.parts.notices import tell, tell_error
from slipstream.web.parts.say import say
from slipstream.web.services.captioning_jobs import (
    Captioning,
    captioned_since,
    captioning_of,
    start_captioning,
    stop_captioning,
    undo_captioning,
)
from slipstream.web.services.dataset_notes import change_notes

_SECONDS = 2.0


def open_captioning(shown: Shown) -> None:
    """Ask what the model shall do with the selected pictures, or with all."""
    with ui.dialog() as dialog, ui.card().classes("s-dialog s-dialog-wide"):
        ui.label(say("captioning.title")).classes("s-card-title").props('role="heading" aria-level="2"')
        about = "captioning.about_selected" if shown.selected else "captioning.about_all"
        ui.label(say(about, count=len(shown.selected))).classes("s-note")
        _form(shown, dialog)
    dialog.on("hide", dialog.delete)
    dialog.open()


def _form(shown: Shown, dialog: ui.dialog) -> None:
    chosen = shown.studio.preferences.read().captioning_model or DEFAULT_MODEL
    models = list(dict.fromkeys((chosen, *SUGGESTED_MODELS)))
    model = ui.select(
        models, value=chosen, label=say("captioning.model"), with_input=True, new_value_mode="add-unique"
    ).classes("s-field")  # fmt: skip
    model.props("outlined dense").tooltip(say("captioning.model_help"))
    presets = {name: say(f"captioning.preset_{name}") for name in (*(one.name for one in PRESETS), CUSTOM)}
    preset = ui.select(presets, value="sentence", label=say("captioning.prompt")).classes("s-field")
    preset.props("outlined dense")
    words = ui.textarea(say("captioning.prompt_text")).classes("s-field").props("outlined dense autogrow")
    words.bind_visibility_from(preset, "value", value=CUSTOM)
    trigger = ui.input(say("captioning.trigger"), value=shown.notes.trigger_word).classes("s-field")
    trigger.props("outlined dense maxlength=100")
    policies: dict[Overwrite, str] = {"empty": say("captioning.only_empty"), "all": say("captioning.overwrite_all")}
    policy = ui.radio(policies, value="empty")
    with ui.expansion(say("captioning.more")).classes("s-field"):
        tokens = ui.number(say("captioning.max_tokens"), value=160, min=16, max=2048, precision=0)
        batch = ui.number(say("captioning.batch_size"), value=4, min=1, max=256, precision=0)
        for box in (tokens, batch):
            box.props("outlined dense")

    async def start() -> None:
        try:
            request = CaptionRequest(
                shown.folder, model.value or "", preset.value, words.value or "", (trigger.value or "").strip(),
                policy.value or "empty", int(tokens.value or 160), int(batch.value or 4), shown.selected,
            )  # fmt: skip
            if request.trigger_word and request.trigger_word != shown.notes.trigger_word:
                shown.notes = change_notes(shown.folder, shown.notes, trigger_word=request.trigger_word)
            await asyncio.to_thread(start_captioning, shown.studio.settings, request)
        except SlipstreamError as error:
            tell_error(error)
            return
        dialog.close()
        tell(say("captioning.queued"))
        shown.on_captioning()

    with ui.row().classes("s-dialog-buttons"):
        ui.button(say("dataset.cancel"), on_click=dialog.close).props("flat no-caps")
        ui.button(say("captioning.start"), icon="auto_awesome", on_click=start).props("unelevated no-caps")


def captioning_card(shown: Shown) -> None:
    """How far the newest captioning job is; nothing where there is none that matters now."""
    seen = {"pictures": 0, "watching": False}

    @ui.refreshable
    def content(now: Captioning | None) -> None:
        if now is not None and (now.active or seen["watching"]):
            _content(shown, now, closed)

    def closed() -> None:
        seen["watching"] = False
        content.refresh(None)

    async def look() -> None:
        try:
            now = await asyncio.to_thread(captioning_of, shown.studio.settings, shown.folder)
        except SlipstreamError as error:  # the queue cannot be opened
            timer.deactivate()
            tell_error(error)
            return
        if now is not None and now.active:
            if not seen["watching"]:
                seen.update(pictures=now.done, watching=True)
        else:
            timer.deactivate()
        if seen["watching"]:
            read = partial(captioned_since, shown.studio.settings, shown.folder, int(seen["pictures"]))
            fresh = await asyncio.to_thread(read)
            seen["pictures"] = now.done if now is not None else 0
            shown.show_captions(fresh)
        content.refresh(now)

    content(None)
    timer = ui.timer(_SECONDS, look)
    shown.on_captioning = timer.activate


def _content(shown: Shown, now: Captioning, closed: object) -> None:
    assert callable(closed)
    settings = shown.studio.settings

    async def act(what: str) -> None:
        try:
            if what == "stop":
                await asyncio.to_thread(stop_captioning, settings, shown.folder)
                return
            count = await asyncio.to_thread(undo_captioning, settings, shown.folder)
        except SlipstreamError as error:
            tell_error(error)
            return
        tell(say("dataset.undone", count=count))
        closed()
        shown.reload()

    with ui.element("section").classes("s-card"):
        with ui.row().classes("s-bar-row"):
            ui.icon("auto_awesome").props('aria-hidden="true"')
            ui.label(_sentence(now)).props('role="status"')
            ui.space()
            if now.active:
                ui.button(say("captioning.stop"), icon="stop", on_click=lambda: act("stop")).props("flat dense no-caps")
                ui.link(say("captioning.queue"), "/queue")
            else:
                if now.written:
                    ui.button(say("captioning.undo"), icon="undo", on_click=lambda: act("undo")).props(
                        "flat dense no-caps"
                    )
                ui.button(say("dataset.close"), icon="close", on_click=closed).props("flat dense no-caps")
        if now.active and now.total:
            bar(now.done / now.total, f"{now.done} / {now.total}")
        if now.message:
            ui.label(now.message).classes("s-note s-lines")
        elif now.active:
            ui.label(say("captioning.edit_after")).classes("s-note")


def _sentence(now: Captioning) -> str:
    if now.state in ("queued", "paused", "starting"):
        return say("captioning.waiting")
    if now.active:
        key = "captioning.loading" if now.phase == "load model" else "captioning.running"
        return say(key, done=now.done, total=now.total, file=now.file)
    return say(f"captioning.{now.state}", written=now.written)

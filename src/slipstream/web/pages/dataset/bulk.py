"""Changing many captions at once: choose the change, see what it would do, do it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nicegui import ui

from slipstream.core.errors import SlipstreamError
from slipstream.web.pages.dataset.shown import Shown
from slipstream.web.parts.notices import tell, tell_error
from slipstream.web.parts.say import say
from slipstream.web.services.caption_edits import EDIT_KINDS, CaptionChange, CaptionEdit, EditKind, preview_edit

_SHOWN = 40
_TEXT = {"prepend", "append", "remove_tag", "replace", "trigger", "default"}
_FIND = {"replace", "trigger"}


def open_bulk(shown: Shown) -> None:
    """Edit the captions of the selected pictures, or of all that the filter shows."""
    with ui.dialog() as dialog, ui.card().classes("s-dialog s-dialog-wide"):
        ui.label(say("dataset.bulk")).classes("s-card-title").props('role="heading" aria-level="2"')
        about = "dataset.bulk_selected" if shown.selected else "dataset.bulk_shown"
        ui.label(say(about, count=len(shown.selected))).classes("s-note")
        _form(shown, dialog)
    dialog.on("hide", dialog.delete)
    dialog.open()


def _form(shown: Shown, dialog: ui.dialog) -> None:
    kinds: dict[EditKind, str] = {kind: say(f"dataset.bulk_{kind}") for kind in EDIT_KINDS}
    kind = ui.select(kinds, value="prepend", label=say("dataset.bulk_kind")).classes("s-field")
    kind.props("outlined dense")
    find = ui.input(say("dataset.bulk_find")).classes("s-field").props("outlined dense")
    text = ui.input(say("dataset.bulk_text")).classes("s-field").props("outlined dense")
    with ui.row() as switches:
        whole = ui.checkbox(say("dataset.bulk_whole"))
        case = ui.checkbox(say("dataset.bulk_case"))
    result = ui.element("div").classes("s-changes")
    pending: list[CaptionChange] = []

    def edit() -> CaptionEdit:
        return CaptionEdit(kind.value, text.value or "", find.value or "", bool(whole.value), bool(case.value))

    def adapt() -> None:
        find.set_visibility(kind.value in _FIND)
        find.props(f'label="{say("dataset.bulk_old_trigger" if kind.value == "trigger" else "dataset.bulk_find")}"')
        text.set_visibility(kind.value in _TEXT)
        switches.set_visibility(kind.value == "replace")
        if kind.value == "trigger" and not text.value:
            text.set_value(shown.notes.trigger_word)
        pending.clear()
        result.clear()
        apply.set_enabled(False)

    async def preview() -> None:
        pending.clear()
        try:
            files = list(shown.selected) or await asyncio.to_thread(shown.files)
            pending.extend(await asyncio.to_thread(preview_edit, shown.folder, files, edit()))
        except SlipstreamError as error:
            tell_error(error)
        _show_changes(result, pending)
        apply.set_enabled(bool(pending))
        apply.set_text(say("dataset.bulk_apply", count=len(pending)))

    async def do() -> None:
        try:
            written = shown.write(pending)
        except SlipstreamError as error:
            tell_error(error)
            return
        dialog.close()
        tell(say("dataset.bulk_done", count=len(written)))

    with ui.row().classes("s-dialog-buttons"):
        ui.button(say("dataset.cancel"), on_click=dialog.close).props("flat no-caps")
        ui.button(say("dataset.bulk_preview"), icon="visibility", on_click=preview).props("outline no-caps")
        apply = ui.button(say("dataset.bulk_apply", count=0), on_click=do).props("unelevated no-caps")
    for box in (find, text):
        box.on("keydown.enter", preview)
    for part in (find, text, whole, case, kind):
        part.on_value_change(adapt)
    adapt()


def _show_changes(result: ui.element, changes: Sequence[CaptionChange]) -> None:
    result.clear()
    with result:
        if not changes:
            ui.label(say("dataset.bulk_nothing")).classes("s-note")
        for change in changes[:_SHOWN]:
            with ui.element("div").classes("s-change"):
                ui.label(change.file).classes("s-mono s-note")
                ui.label(change.before or say("dataset.grid_uncaptioned")).classes("s-change-before")
                ui.label(change.after or say("dataset.grid_uncaptioned")).classes("s-change-after")
        if len(changes) > _SHOWN:
            ui.label(say("dataset.and_more", count=len(changes) - _SHOWN)).classes("s-note")

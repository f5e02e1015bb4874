"""One picture at a time, large, with its caption beside it: written as it is typed, and on with a key."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from nicegui import events, ui

from slipstream.core.errors import SlipstreamError
from slipstream.web.pages.dataset.finding_words import finding_words
from slipstream.web.pages.dataset.picture_view import picture_view, side_tools
from slipstream.web.pages.dataset.shown import Shown
from slipstream.web.parts.notices import tell, tell_error
from slipstream.web.parts.say import say
from slipstream.web.services.caption_edits import CaptionChange
from slipstream.web.services.caption_length import MAX_TOKENS, guess_tokens
from slipstream.web.services.dataset_checks import CheckedDataset, last_check
from slipstream.web.services.dataset_trash import trash_pictures
from slipstream.web.services.datasets import caption_beside, find_picture, write_captions

_SECONDS_TO_SAVE = 0.6
_KEYS = """(event) => {
  const typing = ["TEXTAREA", "INPUT"].includes(event.target.tagName);
  let step = 0;
  if (event.key === "PageDown" || (event.key === "ArrowRight" && (event.altKey || !typing))) step = 1;
  if (event.key === "PageUp" || (event.key === "ArrowLeft" && (event.altKey || !typing))) step = -1;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) step = 1;
  if (step) { event.preventDefault(); event.stopPropagation(); emit(step); }
}"""
_INSERT = """(() => {
  const area = document.querySelector(".s-editor textarea");
  const [from, to] = [area.selectionStart, area.selectionEnd];
  const word = WORD;
  const before = area.value.slice(0, from), after = area.value.slice(to);
  const left = before && !/\\s$/.test(before) ? " " : "";
  const right = after && !/^[\\s,.;:]/.test(after) ? (before.trim() ? " " : ", ") : "";
  area.focus();
  area.setRangeText(left + word + right, from, to, "end");
  area.dispatchEvent(new Event("input", { bubbles: true }));
})()"""


@dataclass
class Editing:
    """The open editor: its list, the picture at hand, its caption when it was opened and as it is on disk."""

    shown: Shown
    files: list[str]
    place: int
    check: CheckedDataset | None
    opened: str = ""
    stored: str = ""
    text: str = ""
    saving: asyncio.Task[None] | None = field(default=None)

    @property
    def file(self) -> str:
        """The picture at hand."""
        return self.files[self.place]

    def load(self) -> None:
        """Read the caption of the picture at hand."""
        self.opened = self.stored = self.text = caption_beside(find_picture(self.shown.folder, self.file)) or ""

    def save(self) -> None:
        """Write the caption if it changed.

        Raises:
            RefusedError: it is too long, or the picture is gone.
        """
        text = " ".join(self.text.split())
        if text != self.stored:
            # a file of a few hundred bytes: written at once, so that no later step can overtake it
            write_captions(self.shown.folder, {self.file: text})
            self.stored = text

    def leave(self) -> None:
        """Save, and let what was changed since the picture was opened be undone. Raises as `save` does."""
        if self.saving is not None:
            self.saving.cancel()
        self.save()
        if self.stored != self.opened:
            change = CaptionChange(self.file, self.opened, self.stored)
            self.opened = self.stored
            self.shown.remember([change])
            self.shown.show_captions([change])


async def open_editor(shown: Shown, file: str) -> None:
    """Show a picture of the list with its caption."""
    files = await asyncio.to_thread(shown.files)
    check = await asyncio.to_thread(last_check, shown.folder)
    if file not in files:
        files = [file]
    editing = Editing(shown, files, files.index(file), check)
    try:
        editing.load()
    except SlipstreamError as error:
        tell_error(error)
        shown.reload()
        return
    with ui.dialog().props("maximized") as dialog, ui.card().classes("s-sheet s-editor"):
        _build(editing, dialog)
    dialog.on("hide", lambda: _close(editing, dialog))
    dialog.open()


def _close(editing: Editing, dialog: ui.dialog) -> None:
    try:
        editing.leave()
    except SlipstreamError as error:
        tell_error(error)
    dialog.delete()


def _build(editing: Editing, dialog: ui.dialog) -> None:
    @ui.refreshable
    def view() -> None:
        _view(editing, refresh_view)

    def refresh_view() -> None:
        view.refresh()

    def go(step: int) -> None:
        if not 0 <= editing.place + step < len(editing.files):
            return
        try:
            editing.leave()
            editing.place += step
            editing.load()
        except SlipstreamError as error:
            tell_error(error)
        title.set_text(_title(editing))
        view.refresh()

    def remove() -> None:
        try:
            editing.leave()
            trash_pictures(editing.shown.folder, [editing.file])
        except SlipstreamError as error:
            tell_error(error)
            return
        tell(say("dataset.removed", count=1))
        editing.shown.reload()
        del editing.files[editing.place]
        if not editing.files:
            editing.files, editing.place = [""], 0
            editing.stored = editing.opened = editing.text = ""
            dialog.close()
            return
        editing.place = min(editing.place, len(editing.files) - 1)
        editing.load()
        title.set_text(_title(editing))
        view.refresh()

    with ui.row().classes("s-bar-row s-editor-head"):
        title = ui.label(_title(editing)).classes("s-editor-title").props('role="heading" aria-level="2"')
        ui.space()
        _icon("editor.previous", "chevron_left", lambda: go(-1))
        _icon("editor.next", "chevron_right", lambda: go(1))
        _icon("editor.remove", "delete", remove)
        _icon("dataset.close", "close", dialog.close)
    body = ui.element("div").classes("s-editor-body")
    body.on("keydown", lambda event: go(int(event.args)), js_handler=_KEYS)
    with body:
        view()


def _icon(key: str, icon: str, act: object) -> None:
    ui.button(icon=icon, on_click=act).props(f'flat round aria-label="{say(key)}"').tooltip(say(key))  # type: ignore[arg-type]


def _title(editing: Editing) -> str:
    return f"{editing.place + 1} / {len(editing.files)} · {editing.file}"


def _view(editing: Editing, refresh: object) -> None:
    """Everything of the picture at hand. It is built anew for each, so that what was typed for one picture can never
    arrive at another."""
    assert callable(refresh)
    overlays = picture_view(editing.shown, editing.file)
    with ui.element("div").classes("s-editor-side"):
        _caption(editing)
        _findings(editing)
        side_tools(editing.shown, editing.file, overlays, refresh)
        ui.label(say("editor.keys")).classes("s-note s-only-wide")


def _caption(editing: Editing) -> None:
    area = ui.textarea(say("editor.caption"), value=editing.text).classes("s-caption")
    area.props('outlined autogrow input-style="min-height: 120px; line-height: 1.5"')

    def facts() -> str:
        return say("editor.tokens", count=guess_tokens(editing.text), most=MAX_TOKENS)

    if not _on_a_phone():
        area.props("autofocus")
    with ui.row().classes("s-bar-row"):
        hint = ui.label(facts()).classes("s-note")
        ui.space()
        state = ui.label(say("editor.saved")).classes("s-note").props('role="status"')

    async def later() -> None:
        await asyncio.sleep(_SECONDS_TO_SAVE)
        with area:
            try:
                editing.save()
                state.set_text(say("editor.saved"))
            except SlipstreamError as error:
                tell_error(error)

    def typed(event: events.ValueChangeEventArguments) -> None:
        editing.text = event.value or ""
        hint.set_text(facts())
        state.set_text(say("editor.unsaved"))
        if editing.saving is not None:
            editing.saving.cancel()
        editing.saving = asyncio.get_running_loop().create_task(later())

    area.on_value_change(typed)
    with ui.row().classes("s-editor-buttons"):
        _trigger_button(editing)
        ui.button(say("editor.revert"), icon="undo", on_click=lambda: area.set_value(editing.opened)).props(
            "flat dense no-caps"
        )


def _on_a_phone() -> bool:
    """Whether a keyboard would come up over the picture as soon as the caption has the focus."""
    request = ui.context.client.request
    return request is not None and "Mobi" in request.headers.get("user-agent", "")


def _trigger_button(editing: Editing) -> None:
    word = editing.shown.notes.trigger_word or "[trigger]"

    def insert() -> None:
        ui.run_javascript(_INSERT.replace("WORD", json.dumps(word)))

    ui.button(say("editor.insert", word=word), icon="add", on_click=insert).props("outline dense no-caps")


def _findings(editing: Editing) -> None:
    found = editing.check
    if found is None:
        return
    picture = next((one for one in found.pictures if one.file == editing.file), None)
    if picture is None:
        return
    with ui.element("ul").classes("s-advice"):
        for kind, text in picture.findings:
            with ui.element("li"):
                ui.label(finding_words(kind, text))

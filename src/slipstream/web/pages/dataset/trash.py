"""Removing pictures, and what lies in the trash."""

from __future__ import annotations

from urllib.parse import urlencode

from nicegui import ui

from slipstream.web.pages.dataset.shown import Shown
from slipstream.web.parts.ask import confirm
from slipstream.web.parts.cards import empty_state
from slipstream.web.parts.notices import tell, told
from slipstream.web.parts.say import say
from slipstream.web.services.dataset_trash import Trashed, empty_trash, list_trash, restore_picture, trash_pictures

_SHOWN = 120


def remove_selected(shown: Shown) -> None:
    """Ask, then move the selected pictures into the trash."""
    files = shown.selected

    def act() -> None:
        trash_pictures(shown.folder, files)
        if shown.grid is not None:
            shown.grid.select_none()
        shown.reload()
        tell(say("dataset.removed", count=len(files)))

    title = say("dataset.remove_title", count=len(files))
    confirm(title, say("dataset.remove_text"), say("dataset.remove"), act)


def open_trash(shown: Shown) -> None:
    """Show what was removed, to be put back or deleted for good."""
    with ui.dialog() as dialog, ui.card().classes("s-dialog s-dialog-wide") as place:
        ui.label(say("dataset.trash")).classes("s-card-title").props('role="heading" aria-level="2"')

        @ui.refreshable
        def content() -> None:
            _content(shown, list_trash(shown.folder), content.refresh, place)

        content()
        with ui.row().classes("s-dialog-buttons"):
            ui.button(say("dataset.close"), on_click=dialog.close).props("flat no-caps")
    dialog.on("hide", dialog.delete)
    dialog.open()


def _content(shown: Shown, found: list[Trashed], refresh: object, place: ui.element) -> None:
    assert callable(refresh)
    if not found:
        with empty_state("delete_outline", say("dataset.trash_empty"), say("dataset.trash_empty_text")):
            pass
        return

    def restore(one: Trashed) -> None:
        with told():
            restore_picture(shown.folder, one.key)
            shown.reload()
            refresh()

    def empty() -> None:
        empty_trash(shown.folder)
        refresh()

    with ui.element("div").classes("s-thumbs"):
        for one in found[:_SHOWN]:
            with ui.element("figure").classes("s-thumb"):
                source = f"{shown.api}/trash/thumbnail?{urlencode({'key': one.key})}"
                ui.element("img").props(f'src="{source}" alt="" loading="lazy"')
                ui.label(one.file).classes("s-thumb-name")
                ui.button(say("dataset.restore"), icon="restore", on_click=lambda one=one: restore(one)).props(
                    "flat dense no-caps"
                )
    if len(found) > _SHOWN:
        ui.label(say("dataset.and_more", count=len(found) - _SHOWN)).classes("s-note")

    def ask() -> None:
        title, text = say("dataset.trash_clear"), say("dataset.trash_clear_text", count=len(found))
        with place:  # what is asked outlives the list, which is built anew
            confirm(title, text, title, empty)

    ui.button(say("dataset.trash_clear"), icon="delete_forever", on_click=ask, color="negative").props("flat no-caps")

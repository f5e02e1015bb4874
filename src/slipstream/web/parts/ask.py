"""Small dialogs: a question before something is done, and a name for something."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from slipstream.web.parts.notices import told
from slipstream.web.parts.say import say


def confirm(title: str, text: str, action: str, on_yes: Callable[[], None], *, danger: bool = True) -> None:
    """Ask, and act on yes; an error of the action is shown and the dialog stays."""
    with ui.dialog() as dialog, ui.card().classes("s-dialog"):
        ui.label(title).classes("s-card-title").props('role="heading" aria-level="2"')
        ui.label(text).classes("s-note")

        def act() -> None:
            with told():
                on_yes()
                dialog.close()

        _buttons(dialog, action, act, "negative" if danger else "primary")
    dialog.on("hide", dialog.delete)
    dialog.open()


def ask_text(title: str, label: str, action: str, on_ok: Callable[[str], None], *, value: str = "") -> None:
    """Ask for a text, and act on it; an error of the action is shown and the dialog stays."""
    with ui.dialog() as dialog, ui.card().classes("s-dialog"):
        ui.label(title).classes("s-card-title").props('role="heading" aria-level="2"')
        box = ui.input(label, value=value).classes("s-field").props("outlined dense autofocus maxlength=120")

        def act() -> None:
            with told():
                on_ok(box.value.strip())
                dialog.close()

        box.on("keydown.enter", act)
        _buttons(dialog, action, act, "primary")
    dialog.on("hide", dialog.delete)
    dialog.open()


def _buttons(dialog: ui.dialog, action: str, act: Callable[[], None], colour: str) -> None:
    with ui.row().classes("s-dialog-buttons"):
        ui.button(say("dataset.cancel"), on_click=dialog.close).props("flat no-caps")
        ui.button(action, on_click=act, color=colour).props("unelevated no-caps")

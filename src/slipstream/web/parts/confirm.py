"""Asking before something is done that cannot be undone."""

from __future__ import annotations

from nicegui import ui


async def confirmed(title: str, text: str, *, yes: str, no: str) -> bool:
    """Whether a person says yes; Esc and a click beside the dialog say no."""
    # Quasar lets only a div of a dialog be clicked
    with ui.dialog() as dialog, ui.element("div").classes("s-card r-dialog"):
        ui.label(title).classes("s-card-title").props('role="heading" aria-level="2"')
        ui.label(text).classes("s-note")
        with ui.row().classes("r-dialog-buttons"):
            ui.button(no, on_click=lambda: dialog.submit(False)).props("no-caps flat autofocus")
            ui.button(yes, on_click=lambda: dialog.submit(True)).props("no-caps unelevated color=negative")
    said = bool(await dialog)
    dialog.delete()
    return said

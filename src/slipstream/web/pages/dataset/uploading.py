"""Uploads on a dataset's page: what arrived, and what was refused and why."""

from __future__ import annotations

from nicegui import ui

from slipstream.web.pages.dataset.shown import Shown
from slipstream.web.parts.notices import tell
from slipstream.web.parts.say import say
from slipstream.web.parts.upload_zone import Uploaded, UploadZone

_SHOWN = 200


def upload_zone(shown: Shown) -> UploadZone:
    """Takes what is dropped on the page."""

    def finished(report: Uploaded) -> None:
        shown.reload()
        if report.refused:
            _tell_refused(report)
        elif report.pictures or report.captions or report.unchanged:
            tell(_sentence(report))

    return UploadZone(f"{shown.api}/files?folders=true", on_finished=finished, on_arrived=shown.reload)


def _sentence(report: Uploaded) -> str:
    parts = [say("dataset.uploaded", pictures=report.pictures, captions=report.captions)]
    if report.unchanged:
        parts.append(say("dataset.uploaded_unchanged", count=report.unchanged))
    return " ".join(parts)


def _tell_refused(report: Uploaded) -> None:
    with ui.dialog() as dialog, ui.card().classes("s-dialog s-dialog-wide"):
        title = say("dataset.refused", count=len(report.refused))
        ui.label(title).classes("s-card-title").props('role="heading" aria-level="2"')
        ui.label(_sentence(report)).classes("s-note")
        with ui.element("ul").classes("s-refused"):
            for file, message, fix in report.refused[:_SHOWN]:
                with ui.element("li"):
                    ui.label(file).classes("s-mono")
                    ui.label(message)
                    if fix:
                        ui.label(fix).classes("s-note")
        if len(report.refused) > _SHOWN:
            ui.label(say("dataset.and_more", count=len(report.refused) - _SHOWN)).classes("s-note")
        with ui.row().classes("s-dialog-buttons"):
            ui.button(say("dataset.close"), on_click=dialog.close).props("unelevated no-caps")
    dialog.on("hide", dialog.delete)
    dialog.open()

"""Bringing a job file of another trainer: pasted or uploaded, with what became of every key before it is used."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from nicegui import events, ui

from slipstream.config.yaml_text import write_yaml
from slipstream.core.errors import SlipstreamError
from slipstream.web.parts.job_form.desk import Desk
from slipstream.web.parts.say import say
from slipstream.web.services.configs import MOST_CHARACTERS, Converted, ConvertedKey, convert
from slipstream.web.services.form.draft import read_draft
from slipstream.web.services.form.layout import plain

_OUTCOMES = ("taken", "translated", "ignored", "unknown", "added")


@dataclass
class _Import:
    file_name: str = "job.yaml"
    found: tuple[Converted, ...] = ()
    chosen: int = 0
    error: SlipstreamError | None = None


def open_import(desk: Desk) -> None:
    """The dialog."""
    state = _Import()
    with ui.dialog() as dialog, ui.card().classes("s-dialog s-dialog-wide"):
        ui.label(say("newjob.import_title")).classes("s-card-title").props('role="heading" aria-level="2"')
        ui.label(say("newjob.import_note")).classes("s-note")
        area = ui.textarea(say("newjob.paste")).props("outlined").classes("s-set-control s-mono s-import-text")

        async def uploaded(event: events.UploadEventArguments) -> None:
            data = await event.file.read()
            state.file_name = event.file.name
            area.set_value(data.decode("utf-8-sig", "replace"))
            await look()

        upload = ui.upload(
            label=say("newjob.upload"), auto_upload=True, max_file_size=MOST_CHARACTERS, on_upload=uploaded
        )
        upload.props('flat bordered accept=".yaml,.yml,.json,.sh,.bat,.txt"').classes("s-upload")

        @ui.refreshable
        def report() -> None:
            if state.error is not None:
                with ui.element("div").classes("s-set-problem").props('role="alert"'):
                    ui.label(state.error.message)
                    ui.label(state.error.fix or "").classes("s-set-fix")
            if state.found:
                _show_report(state, report.refresh)

        async def look() -> None:
            try:
                found = await asyncio.to_thread(convert, area.value or "", state.file_name, None)
                state.found, state.error, state.chosen = tuple(found), None, 0
            except SlipstreamError as error:
                state.found, state.error = (), error
            use.set_enabled(bool(state.found))
            report.refresh()

        def take() -> None:
            desk.preset = None
            desk.replace(read_draft(state.found[state.chosen].yaml))
            dialog.close()

        report()
        with ui.row().classes("s-dialog-buttons"):
            ui.button(say("newjob.cancel"), on_click=dialog.close).props("no-caps flat")
            ui.button(say("newjob.convert"), on_click=look).props("no-caps outline")
            use = ui.button(say("newjob.use"), on_click=take).props("no-caps unelevated")
            use.set_enabled(False)
    dialog.on("hide", dialog.delete)
    dialog.open()


def _show_report(state: _Import, again: object) -> None:
    if len(state.found) > 1:
        names = {place: say("newjob.training_number", number=place + 1) for place in range(len(state.found))}
        toggle = ui.toggle(names, value=state.chosen).props("no-caps unelevated")

        def chosen() -> None:
            state.chosen = int(toggle.value or 0)
            again()  # type: ignore[operator]

        toggle.on_value_change(chosen)
    one = state.found[state.chosen]
    ui.label(f"{one.format}: {one.summary}")
    worth = [key for key in one.keys if key.matters or key.outcome == "unknown"]
    others = [key for key in one.keys if key not in worth]
    if worth:
        ui.label(say("newjob.read_these")).classes("s-set-label")
        _show_keys(worth)
    with ui.expansion(say("newjob.all_keys", number=len(others))).classes("s-fold").props("dense"):
        _show_keys(others)


def _show_keys(keys: list[ConvertedKey]) -> None:
    with ui.element("div").classes("s-keys"):
        for key in keys:
            with ui.element("div").classes("s-key"):
                ui.label(key.key).classes("s-mono")
                ui.label(say(f"newjob.outcome_{key.outcome}")).classes(f"s-outcome s-outcome-{key.outcome}")
                result = f"{key.target}: {_short(key.result)}" if key.target else ""
                ui.label(plain("; ".join(part for part in (result, key.why) if part) or _short(key.value))).classes(
                    "s-note"
                )


def _short(value: object) -> str:
    text = write_yaml(value, flow=True).replace("\n...", "").strip()
    return text if len(text) <= 80 else text[:77] + "..."

"""The card of a run's findings: what was seen, what it means, what to change, and a job that tries it."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from nicegui import ui

from slipstream.findings.finding import Finding
from slipstream.findings.tell import tell
from slipstream.reports.findings import ToldFinding
from slipstream.runs.layout import RunDir
from slipstream.web.parts.notices import told
from slipstream.web.parts.say import language_now, say
from slipstream.web.services.run_jobs import draft_with_settings
from slipstream.web.studio import Studio


class FindingsCard:
    """The card; it is hidden where nothing stands out."""

    def __init__(self, studio: Studio, run: RunDir) -> None:
        self._studio, self._run = studio, run
        with ui.element("section").classes("s-card r-findings") as self._card:
            ui.label(say("run.findings")).classes("s-card-title").props('role="heading" aria-level="2"')
            self._list = ui.element("div").classes("r-stack")

    def show(self, findings: tuple[Finding, ...]) -> None:
        """Build the list anew."""
        self._card.set_visibility(bool(findings))
        self._list.clear()
        with self._list:
            for finding in findings:
                self._row(tell(finding, language_now()))

    def _row(self, finding: ToldFinding) -> None:
        row = ui.element("details").classes(f"r-finding r-finding-{finding.severity}")
        if finding.severity != "hint":
            row.props("open")
        with row:
            with ui.element("summary"):
                ui.label(finding.label).classes("r-chip")
                ui.label(finding.title).classes("r-strong")
            ui.label(" ".join(finding.seen))
            ui.label(finding.means).classes("s-note")
            with ui.element("ul"):
                for line in finding.change:
                    with ui.element("li"):
                        ui.label(line)
            if finding.settings:
                with ui.element("div").classes("r-finding-try"):
                    button = ui.button(say("run.findings_try"), icon="science", on_click=lambda: self._try(finding))
                    button.props("no-caps outline size=sm")
                    ui.label("  ".join(finding.settings)).classes("s-mono s-note")

    async def _try(self, finding: ToldFinding) -> None:
        with told():
            name = await asyncio.to_thread(draft_with_settings, self._studio.settings, self._run, finding.settings)
            ui.navigate.to(f"/new?draft={quote(name, safe='')}")

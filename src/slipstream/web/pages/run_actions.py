"""Buttons of a run: what may be asked of it now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote

from nicegui import ui

from slipstream.runs.controls import Flag
from slipstream.runs.layout import RunDir
from slipstream.web.parts.live import steady
from slipstream.web.parts.notices import tell, told
from slipstream.web.parts.say import say
from slipstream.web.services.run_jobs import ask_run, go_on, steps_to_go_on
from slipstream.web.services.run_look import RunLook
from slipstream.web.studio import Studio

_LIVE: tuple[tuple[Flag, str], ...] = (("stop", "stop_circle"), ("save", "save"), ("preview", "brush"))
_MOST_STEPS = 10_000_000


@dataclass(frozen=True)
class Actions:
    """The buttons: those for a running run, and those for one that nobody trains."""

    live: tuple[ui.button, ...]
    go_on: ui.button
    waits: ui.link
    report: ui.link

    def show(self, look: RunLook) -> None:
        """Show those that may be pressed now."""
        for button in self.live:
            button.set_visibility(look.running)
        self.go_on.set_visibility(not look.running and not look.waits and look.may_go_on)
        self.waits.set_visibility(not look.running and look.waits)
        self.report.set_visibility(look.has_report)


def actions(studio: Studio, run: RunDir, look: Callable[[], Awaitable[None]]) -> Actions:
    """Build the buttons; `look` is called after one was pressed."""

    def button(flag: Flag, icon: str) -> ui.button:
        async def press() -> None:
            with told():
                await asyncio.to_thread(ask_run, studio.settings, run, flag)
                tell(say(f"run.asked_{flag}"))
            await look()

        shown = ui.button(say(f"run.{flag}"), icon=icon, on_click=press)
        return shown.props("no-caps unelevated color=negative" if flag == "stop" else "no-caps outline")

    async def more() -> None:
        with steady():
            steps = await _asked_steps(run)
            if steps is not None:
                with told():
                    await asyncio.to_thread(go_on, studio.settings, run, steps)
                    tell(say("run.goes_on"))
                await look()

    live = tuple(button(flag, icon) for flag, icon in _LIVE)
    again = ui.button(say("run.go_on"), icon="play_arrow", on_click=more).props("no-caps unelevated")
    waits = ui.link(say("run.waits"), "/queue").classes("r-link")
    address = f"/api/runs/{quote(run.name, safe='')}/report"
    return Actions(live, again, waits, ui.link(say("run.report"), address, new_tab=True).classes("r-link"))


async def _asked_steps(run: RunDir) -> int | None:
    """Up to how many updates a person wants to train, None where they think better of it."""
    with ui.dialog() as dialog, ui.element("div").classes("s-card r-dialog"):
        ui.label(say("run.go_on")).classes("s-card-title").props('role="heading" aria-level="2"')
        ui.label(say("run.go_on_text")).classes("s-note")
        box = ui.number(say("run.go_on_steps"), value=steps_to_go_on(run), min=1, max=_MOST_STEPS, precision=0)
        box.props("outlined dense autofocus").classes("s-field")
        with ui.row().classes("r-dialog-buttons"):
            ui.button(say("run.cancel"), on_click=lambda: dialog.submit(None)).props("no-caps flat")
            start = ui.button(say("run.go_on"), on_click=lambda: dialog.submit(int(box.value or 0) or None))
            start.props("no-caps unelevated")
    steps = await dialog
    dialog.delete()
    return steps if isinstance(steps, int) else None

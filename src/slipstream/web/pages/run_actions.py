"""Buttons of a run: what may be asked of it now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote

from nicegui import ui

from slipstream.runs.controls import Flag
from slipstream.runs.layout import RunDir
from slipstream.web.parts.notices import tell, told
from slipstream.web.parts.say import say
from slipstream.web.services.run_controls import ask
from slipstream.web.services.run_look import RunLook
from slipstream.web.studio import Studio

_LIVE: tuple[tuple[Flag, str], ...] = (("stop", "stop_circle"), ("save", "save"), ("preview", "brush"))


@dataclass(frozen=True)
class Actions:
    """The buttons: those for a running run, and those for one that nobody trains."""

    live: tuple[ui.button, ...]
    report: ui.link

    def show(self, look: RunLook) -> None:
        """Show those that may be pressed now."""
        for button in self.live:
            button.set_visibility(look.running)
        self.report.set_visibility(look.has_report)


def actions(studio: Studio, run: RunDir, look: Callable[[], Awaitable[None]]) -> Actions:
    """Build the buttons; `look` is called after one was pressed."""

    def button(flag: Flag, icon: str) -> ui.button:
        async def press() -> None:
            with told():
                await asyncio.to_thread(ask, run, flag)
                tell(say(f"run.asked_{flag}"))
            await look()

        shown = ui.button(say(f"run.{flag}"), icon=icon, on_click=press)
        return shown.props("no-caps unelevated color=negative" if flag == "stop" else "no-caps outline")

    live = tuple(button(flag, icon) for flag, icon in _LIVE)
    report = ui.link(say("run.report"), f"/api/runs/{quote(run.name, safe='')}/report", new_tab=True).classes("r-link")
    return Actions(live, report)

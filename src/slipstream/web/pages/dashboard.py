"""The first page: the machine, and what it is doing."""

from __future__ import annotations

import asyncio

from nicegui import ui

from slipstream.web.pages.dashboard_runs import RunsNow
from slipstream.web.pages.page import Page
from slipstream.web.parts.cards import bar, card, card_grid, empty_state
from slipstream.web.parts.frame import frame
from slipstream.web.parts.live import while_visible
from slipstream.web.parts.say import say
from slipstream.web.services.machine import Machine
from slipstream.web.services.run_cards import RunCards
from slipstream.web.studio import Studio

_SECONDS = 3.0


def register(studio: Studio) -> None:
    """Declare the page."""
    cards = RunCards()

    @ui.page("/")
    async def dashboard() -> None:
        with frame(studio, "dashboard"):
            await RunsNow(studio, cards).build()
            await _build(studio)


PAGE = Page("dashboard", "/", "space_dashboard", register)


async def _build(studio: Studio) -> None:
    @ui.refreshable
    def machine(found: Machine) -> None:
        _show_machine(found)

    machine(await asyncio.to_thread(studio.machine.look))

    async def again() -> None:
        machine.refresh(await asyncio.to_thread(studio.machine.look))

    while_visible(_SECONDS, again)


def _show_machine(machine: Machine) -> None:
    with card_grid():
        if not machine.gpus:
            with (
                card(say("dashboard.gpus")),
                empty_state("memory", say("dashboard.no_gpu"), say("dashboard.no_gpu_text")),
            ):
                pass
        for gpu in machine.gpus:
            with card(f"GPU {gpu.index}", note=gpu.name):
                _row(say("dashboard.memory"), gpu.used_gib, gpu.memory_gib)
                if gpu.busy_percent is not None:
                    ui.label(say("dashboard.busy", percent=f"{gpu.busy_percent:.0f}")).classes("s-note")
        with card(say("dashboard.machine")):
            _row(say("dashboard.memory"), machine.memory_used_gib, machine.memory_gib)
            ui.label(say("dashboard.cores", percent=f"{machine.cpu_percent:.0f}", cores=machine.num_cores))
        for disk in machine.disks:
            with card(say("dashboard.disk"), note=disk.folder):
                _row(say("dashboard.used"), disk.total_gib - disk.free_gib, disk.total_gib)


def _row(label: str, used: float, total: float) -> None:
    text = f"{label}: {used:.1f} / {total:.1f} GiB"
    ui.label(text)
    bar(used / total if total else 0.0, text)

"""The playground: drawing with any LoRAs, comparing weights and checkpoints, with and without.

`/playground` begins with the newest run's LoRA, `?run=NAME` with that run's, `&file=CHECKPOINT` with one of its
checkpoints, and `?lora=PATH` with a file of the folder of LoRAs.
"""

from __future__ import annotations

import asyncio
from typing import Any

from nicegui import ui

from slipstream.core.errors import SlipstreamError
from slipstream.web.pages.page import Page
from slipstream.web.parts.frame import frame
from slipstream.web.parts.notices import told
from slipstream.web.parts.playground.desk import Desk, Offered
from slipstream.web.parts.playground.form_card import first_base, show_form
from slipstream.web.parts.playground.gallery import PlaygroundGallery
from slipstream.web.parts.playground.state import PlaygroundState, add_lora, as_form, from_form
from slipstream.web.parts.say import say
from slipstream.web.services.playground.bases import known_bases
from slipstream.web.services.playground.devices import drawing_devices
from slipstream.web.services.playground.drawings import ask_for
from slipstream.web.services.playground.loras import files_in, runs_with_loras
from slipstream.web.settings import StudioSettings
from slipstream.web.studio import Studio

_TO_THE_PICTURES = "if (innerWidth < 1080) document.querySelector('.p-drawn').scrollIntoView({block: 'start'})"
"""Where the form is above the pictures, not beside them."""


def register(studio: Studio) -> None:
    """Declare the page."""

    @ui.page("/playground")
    async def playground(run: str = "", file: str = "", lora: str = "") -> None:
        desk, error = await asyncio.to_thread(_desk, studio.settings, run, file, lora)
        with frame(studio, "playground", wide=True), ui.element("div").classes("p-page"):
            _build(desk)
            with told():
                if error is not None:
                    raise error


PAGE = Page("playground", "/playground", "brush", register)


def _desk(settings: StudioSettings, run: str, file: str, lora: str) -> tuple[Desk, SlipstreamError | None]:
    """What can be chosen and what is chosen first; the error says why that is not what was asked for."""
    offered = Offered(
        known_bases(), runs_with_loras(settings.runs_dir), files_in(settings.loras_dir), drawing_devices(settings)
    )
    has_gpu = len(offered.devices) > 1
    state, error = PlaygroundState(), None
    state.take_base(first_base(offered.bases, has_gpu))
    newest = "" if run or lora else next(iter(offered.runs), "")
    try:
        if run or newest or lora:
            add_lora(state, settings, run=run or newest, file=lora or file)
    except SlipstreamError as found:
        error = found
    return Desk(settings, state, offered), error


def _build(desk: Desk) -> None:
    async def draw() -> None:
        with told():
            view = await asyncio.to_thread(lambda: ask_for(desk.settings, as_form(desk.state)))
            gallery.look(view.id)
            ui.run_javascript(_TO_THE_PICTURES)

    @ui.refreshable
    def form() -> None:
        show_form(desk, draw)

    def reuse(value: dict[str, Any]) -> None:
        with told():
            desk.state = from_form(value, desk.settings)
            form.refresh()
            ui.run_javascript("document.querySelector('.p-form').scrollIntoView({block: 'start'})")

    def rebuild() -> None:
        form.refresh()

    desk.rebuild = rebuild
    with ui.element("div").classes("p-form").props(f'role="form" aria-label="{say("playground.form")}"'):
        form()
    with ui.element("div").classes("p-drawn"):
        gallery = PlaygroundGallery(reuse)

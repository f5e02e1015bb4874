"""A dataset whose captions lie in one list: the studio edits caption files, and offers to make them."""

from __future__ import annotations

from nicegui import ui

from slipstream.web.pages.dataset.shown import Shown
from slipstream.web.parts.notices import tell, told
from slipstream.web.parts.say import say
from slipstream.web.services.caption_lists import how_many_listed, unpack_captions


def listed_card(shown: Shown) -> None:
    """A card where the dataset has captions in `metadata.jsonl` alone; nothing where it has not."""
    number = how_many_listed(shown.folder)
    if not number:
        return

    def unpack() -> None:
        with told():
            tell(say("dataset.listed_done", count=unpack_captions(shown.folder)))
            card.delete()
            shown.reload()

    with ui.element("section").classes("s-card s-finding s-advice") as card:
        ui.icon("description").props('aria-hidden="true"')
        with ui.element("div").classes("s-finding-text"):
            ui.label(say("dataset.listed", count=number))
            ui.label(say("dataset.listed_note")).classes("s-note")
        ui.button(say("dataset.listed_unpack"), on_click=unpack).props("outline no-caps")

"""All datasets: covers, how many pictures and captions, and a way to make a new one."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from nicegui import ui

from slipstream.web.pages.dataset.looks import add_looks
from slipstream.web.pages.dataset.page import register_dataset
from slipstream.web.pages.page import Page
from slipstream.web.parts.ask import ask_text, confirm
from slipstream.web.parts.cards import bar, card_grid, empty_state
from slipstream.web.parts.frame import frame
from slipstream.web.parts.say import say
from slipstream.web.services.captioning_jobs import require_no_captioning
from slipstream.web.services.datasets import (
    DatasetSummary,
    create_dataset,
    list_datasets,
    remove_dataset,
    rename_dataset,
)
from slipstream.web.studio import Studio


def register(studio: Studio) -> None:
    """Declare the page and that of a single dataset."""

    @ui.page("/datasets")
    async def datasets() -> None:
        add_looks()
        found = await asyncio.to_thread(list_datasets, studio.settings.datasets_dir)
        with frame(studio, "datasets"):
            _build(studio, found)

    register_dataset(studio)


PAGE = Page("datasets", "/datasets", "photo_library", register)


def _build(studio: Studio, found: list[DatasetSummary]) -> None:
    if not found:
        with (
            ui.element("section").classes("s-card"),
            empty_state("photo_library", say("datasets.none"), say("datasets.none_text")),
        ):
            _create_button(studio)
        with card_grid():
            for key in ("how_many", "which", "captions"):
                with ui.element("section").classes("s-card"):
                    ui.label(say(f"datasets.{key}")).classes("s-card-title").props('role="heading" aria-level="2"')
                    ui.label(say(f"datasets.{key}_text")).classes("s-note")
        return
    with ui.row().classes("s-bar-row"):
        ui.label(say("datasets.count", count=len(found))).classes("s-note")
        ui.space()
        _create_button(studio)
    with ui.element("div").classes("s-grid s-covers"):
        for one in found:
            _cover(studio, one)


def _create_button(studio: Studio) -> None:
    def make(name: str) -> None:
        made = create_dataset(studio.settings.datasets_dir, name)
        ui.navigate.to(address_of(made.name))

    def ask() -> None:
        ask_text(say("datasets.create"), say("datasets.name"), say("datasets.make"), make)

    ui.button(say("datasets.create"), icon="add", on_click=ask).props("unelevated no-caps")


def _cover(studio: Studio, one: DatasetSummary) -> None:
    with ui.element("article").classes("s-card s-cover"):
        with ui.link(target=address_of(one.name)).classes("s-cover-link"):
            with ui.element("div").classes("s-cover-picture"):
                if one.cover is None:
                    ui.icon("photo_library").classes("s-empty-icon").props('aria-hidden="true"')
                else:
                    source = f"/api/datasets/{quote(one.name)}/thumbnail?side=512&file={quote(one.cover)}"
                    ui.element("img").props(f'src="{source}" alt="" loading="lazy" decoding="async"')
            ui.label(one.name).classes("s-cover-name")
        share = one.num_captions / one.num_pictures if one.num_pictures else 0.0
        with ui.row().classes("s-cover-facts"):
            ui.label(say("datasets.pictures", count=one.num_pictures)).classes("s-note")
            ui.space()
            _menu(studio, one)
        if one.num_pictures:
            text = say("datasets.captioned", percent=f"{share * 100:.0f}")
            bar(share, text)
            ui.label(text).classes("s-note")


def _menu(studio: Studio, one: DatasetSummary) -> None:
    root = studio.settings.datasets_dir

    def rename() -> None:
        def act(name: str) -> None:
            require_no_captioning(studio.settings, root / one.name)
            rename_dataset(root, one.name, name)
            ui.navigate.reload()

        ask_text(say("datasets.rename"), say("datasets.name"), say("datasets.rename"), act, value=one.name)

    def remove() -> None:
        def act() -> None:
            require_no_captioning(studio.settings, root / one.name)
            remove_dataset(root, one.name)
            ui.navigate.reload()

        confirm(
            say("datasets.remove_title", name=one.name), say("datasets.remove_text", count=one.num_pictures),
            say("datasets.remove"), act,
        )  # fmt: skip

    button = ui.button(icon="more_vert").props("flat round dense")
    button.props["aria-label"] = say("datasets.more", name=one.name)  # a name may hold quotes
    with button, ui.menu():
        ui.menu_item(say("datasets.rename"), on_click=rename)
        ui.menu_item(say("datasets.remove"), on_click=remove)


def address_of(name: str) -> str:
    """The page of a dataset."""
    return f"/datasets/{quote(name)}"

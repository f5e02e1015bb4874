"""The check of a dataset: advice, copies, findings by picture, and buckets."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from nicegui import ui

from slipstream.core.errors import SlipstreamError
from slipstream.web.pages.dataset.finding_words import finding_words
from slipstream.web.pages.dataset.shown import Shown
from slipstream.web.parts.notices import tell, tell_error, told
from slipstream.web.parts.say import say
from slipstream.web.services.dataset_checks import CheckedDataset, last_check, run_check
from slipstream.web.services.dataset_notes import change_notes
from slipstream.web.services.dataset_trash import trash_pictures

RESOLUTIONS = (256, 384, 512, 640, 768, 896, 1024, 1280, 1536)
_SHOWN = 24


def open_check(shown: Shown) -> None:
    """Show the last check, and let another be made."""
    with ui.dialog().props("maximized") as dialog, ui.card().classes("s-sheet"):
        with ui.row().classes("s-bar-row"):
            ui.label(say("check.title")).classes("s-card-title").props('role="heading" aria-level="2"')
            ui.space()
            ui.button(icon="close", on_click=dialog.close).props(f'flat round aria-label="{say("dataset.close")}"')
        ui.label(say("check.about")).classes("s-note")
        _body(shown)
    dialog.on("hide", dialog.delete)
    dialog.open()


def _body(shown: Shown) -> None:
    with ui.row().classes("s-bar-row"):
        sides = ui.select(
            {side: str(side) for side in RESOLUTIONS}, value=list(shown.notes.resolutions), multiple=True,
            label=say("check.resolutions"), on_change=lambda event: keep(event.value),
        ).classes("s-filter s-sides").props("outlined dense use-chips")  # fmt: skip
        button = ui.button(say("check.run"), icon="fact_check").props("unelevated no-caps")
    state = ui.label("").classes("s-note").props('role="status"')

    @ui.refreshable
    def content(found: CheckedDataset | None) -> None:
        if found is not None:
            _content(shown, found, lambda: content.refresh(last_check(shown.folder)))

    def keep(values: object) -> None:
        assert isinstance(values, list)
        if values:
            with told():
                shown.notes = change_notes(shown.folder, shown.notes, resolutions=tuple(sorted(values)))

    async def run() -> None:
        button.disable()
        state.set_text(say("check.running"))
        try:
            found = await asyncio.to_thread(run_check, shown.folder, shown.notes)
        except SlipstreamError as error:
            tell_error(error)
        else:
            content.refresh(found)
            if shown.filter.show in ("duplicates", "findings"):
                shown.reload()
        state.set_text("")
        button.enable()

    sides.tooltip(say("check.resolutions_help"))
    button.on_click(run)
    content(last_check(shown.folder))


def _content(shown: Shown, found: CheckedDataset, refresh: object) -> None:
    if found.stale:
        ui.label(say("check.stale")).classes("s-hint")
    with ui.element("section"):
        _heading("check.advice")
        if not found.advice:
            ui.label(say("check.fine")).classes("s-note")
        with ui.element("ul").classes("s-advice"):
            for line in (*found.advice, *found.warnings):
                with ui.element("li"):
                    ui.label(line)
    if found.skipped:
        with ui.element("section"):
            _heading("check.skipped")
            with ui.element("ul").classes("s-refused"):
                for file, reason in found.skipped[:_SHOWN]:
                    with ui.element("li"):
                        ui.label(file).classes("s-mono")
                        ui.label(reason).classes("s-note")
    if found.duplicates:
        _duplicates(shown, found, refresh)
    _findings(shown, found)
    _buckets(found)


def _heading(key: str, **values: object) -> None:
    ui.label(say(key, **values)).classes("s-subtitle").props('role="heading" aria-level="3"')


def _duplicates(shown: Shown, found: CheckedDataset, refresh: object) -> None:
    assert callable(refresh)
    extra = [file for group in found.duplicates for file in group[1:]]

    def remove() -> None:
        with told():
            there = set(shown.all_files())
            files = [file for file in extra if file in there]
            trash_pictures(shown.folder, files)
            tell(say("dataset.removed", count=len(files)))
            shown.reload()
            refresh()

    with ui.element("section"):
        with ui.row().classes("s-bar-row"):
            _heading("check.duplicates", count=len(found.duplicates))
            ui.space()
            ui.button(say("check.keep_best", count=len(extra)), icon="delete_sweep", on_click=remove).props(
                "outline dense no-caps"
            )
        ui.label(say("check.duplicates_text")).classes("s-note")
        for group in found.duplicates[:_SHOWN]:
            with ui.element("div").classes("s-thumbs s-group"):
                for place, file in enumerate(group[:8]):
                    _thumb(shown, file, say("check.best") if place == 0 else file)


def _findings(shown: Shown, found: CheckedDataset) -> None:
    kinds: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for picture in found.pictures:
        for kind, text in picture.findings:
            if kind != "duplicate":
                kinds[kind].append((picture.file, finding_words(kind, text)))
    for kind, pictures in kinds.items():
        with ui.element("section"):
            name = kind.replace(" ", "_")
            _heading("check.kind", kind=say(f"check.kind_{name}"), count=len(pictures))
            ui.label(say(f"check.fix_{name}")).classes("s-note")
            with ui.element("div").classes("s-thumbs"):
                for file, text in pictures[:_SHOWN]:
                    _thumb(shown, file, text)
            if len(pictures) > _SHOWN:
                ui.label(say("dataset.and_more", count=len(pictures) - _SHOWN)).classes("s-note")


def _thumb(shown: Shown, file: str, text: str) -> None:
    with ui.element("figure").classes("s-thumb"):
        ui.element("img").props(f'src="{shown.thumbnail(file)}" alt="" loading="lazy" decoding="async"').tooltip(file)
        ui.label(text).classes("s-thumb-name")


def _buckets(found: CheckedDataset) -> None:
    if not found.buckets:
        return
    with ui.element("section"):
        _heading("check.buckets")
        ui.label(say("check.buckets_text")).classes("s-note")
        most = max(count for _, count, _ in found.buckets)
        with ui.element("div").classes("s-buckets"):
            for size, count, cut in found.buckets:
                ui.label(size).classes("s-mono")
                with ui.element("div").classes("s-bucket-bar"):
                    ui.element("div").style(f"width: {100 * count / most:.1f}%")
                ui.label(say("check.bucket", count=count, percent=f"{100 * cut:.0f}")).classes("s-note")

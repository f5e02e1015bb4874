"""Where a new job starts: presets by what is learned and by GPU memory, kept drafts, other trainers' files."""

from __future__ import annotations

import time
from collections.abc import Callable

from nicegui import ui

from slipstream.web.parts.job_form.desk import Desk
from slipstream.web.parts.job_form.import_file import open_import
from slipstream.web.parts.job_form.naming import about_preset
from slipstream.web.parts.notices import told
from slipstream.web.parts.say import say
from slipstream.web.services.drafts import list_drafts, read_kept, remove_draft
from slipstream.web.services.form.draft import read_draft
from slipstream.web.services.form.layout import label
from slipstream.web.services.form.starting import PresetChoice, from_preset, preset_choices, taken_names


def show_start(desk: Desk) -> None:
    """The card over the panels."""
    choices = preset_choices()

    @ui.refreshable
    def presets() -> None:
        for group in dict.fromkeys(choice.group for choice in choices):
            with ui.element("div").classes("s-presets"):
                ui.label(say(f"newjob.{group.replace(' ', '_').lower()}")).classes("s-presets-group")
                with ui.element("div").classes("s-chips"):
                    for choice in choices:
                        if choice.group == group:
                            _chip(desk, choice, take)
        chosen = next((choice for choice in choices if choice.name == desk.preset), None)
        if chosen is not None:
            with ui.element("div").classes("s-preset-about"):
                title, text = about_preset(chosen)
                ui.label(title)
                ui.label(text).classes("s-note")

    def take(choice: PresetChoice) -> None:
        taken = taken_names(desk.studio.settings.runs_dir)
        desk.preset = choice.name
        with told():
            desk.replace(from_preset(choice.name, keep=desk.draft if not desk.draft.unreadable else None, taken=taken))

    with ui.element("section").classes("s-card s-start").props(f'aria-label="{say("newjob.start_from")}"'):
        with ui.element("div").classes("s-set-head"):
            ui.label(say("newjob.start_from")).classes("s-card-title").props('role="heading" aria-level="2"')
            ui.space()
            _drafts_button(desk)
            ui.button(say("newjob.import"), icon="upload_file", on_click=lambda: open_import(desk)).props(
                "no-caps flat dense"
            )
        presets()
    desk.on_replace.append(lambda: presets.refresh())


def _chip(desk: Desk, choice: PresetChoice, take: Callable[[PresetChoice], object]) -> None:
    chosen = choice.name == desk.preset
    button = ui.element("button").classes("s-chip s-chip-chosen" if chosen else "s-chip")
    button.props(f'data-preset="{choice.name}" aria-pressed="{"true" if chosen else "false"}"').on(
        "click", lambda: take(choice)
    )
    button.props["title"] = about_preset(choice)[0]
    name = choice.name.removeprefix("vram_")
    with button:
        ui.label(
            f"{name.removesuffix('gb')} GB" if name.endswith("gb") else label(name).replace("De turbo", "De-Turbo")
        )


def _drafts_button(desk: Desk) -> None:
    button = ui.button(say("newjob.drafts"), icon="drafts").props("no-caps flat dense")
    with button, ui.menu().classes("s-drafts") as menu:
        content = ui.element("div")

    def fill() -> None:
        content.clear()
        home = desk.studio.settings.home
        with content:
            kept = list_drafts(home)
            if not kept:
                ui.label(say("newjob.no_drafts")).classes("s-note s-search-none")
            for one in kept:
                with ui.row().classes("s-draft"):
                    with ui.element("button").classes("s-search-result") as row:
                        ui.label(one.name).classes("s-set-label")
                        ui.label(time.strftime("%Y-%m-%d %H:%M", time.localtime(one.changed))).classes("s-note")
                    row.on("click", lambda name=one.name: opened(name))
                    remove = ui.button(icon="delete_outline", on_click=lambda name=one.name: forgotten(name))
                    remove.props(f'flat dense round size=sm aria-label="{say("newjob.remove", name=one.name)}"')

    def opened(name: str) -> None:
        with told():
            desk.preset = None
            desk.replace(read_draft(read_kept(desk.studio.settings.home, name)))
        menu.close()

    def forgotten(name: str) -> None:
        with told():
            remove_draft(desk.studio.settings.home, name)
        fill()

    menu.on("before-show", fill)

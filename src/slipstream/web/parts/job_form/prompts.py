"""The prompts of the previews: a line each, settings of their own on demand."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from slipstream.web.parts.job_form.desk import Desk
from slipstream.web.parts.job_form.fields import problem_slot, show_setting
from slipstream.web.parts.job_form.help import help_button
from slipstream.web.parts.job_form.naming import called
from slipstream.web.parts.say import say
from slipstream.web.services.form.draft import moved
from slipstream.web.services.form.schema import Rows, Setting
from slipstream.web.services.form.values import MISSING

_TRIGGER = "[trigger]"


def show_prompts(desk: Desk, rows: Rows) -> None:
    """All prompts, with buttons that add one or many."""
    box = ui.element("div").classes("s-switched s-prompts").props(f'data-setting="{rows.path}"')

    def number() -> int:
        given = desk.given(rows.path)
        return len(given) if isinstance(given, list) else 0

    def build() -> None:
        box.clear()
        with box:
            with ui.element("div").classes("s-set-head"):
                ui.label(called(rows.path)).classes("s-set-label")
                ui.space()
                help_button(called(rows.path), rows.path, rows)
            ui.label(say("newjob.prompts_note")).classes("s-set-help")
            for place in range(number()):
                _show_prompt(desk, rows, place, number(), build)
            problem_slot(desk, rows.path)
            with ui.row().classes("s-prompt-buttons"):
                ui.button(say("newjob.add_prompt"), icon="add", on_click=lambda: add([""])).props("no-caps flat")
                ui.button(say("newjob.add_prompts"), icon="playlist_add", on_click=many).props("no-caps flat")

    def add(texts: list[str]) -> None:
        for text in texts:
            desk.set(f"{rows.path}.{number()}", text)
        build()

    def many() -> None:
        with ui.dialog() as dialog, ui.card().classes("s-dialog"):
            ui.label(say("newjob.add_prompts")).classes("s-card-title")
            area = ui.textarea(say("newjob.one_a_line")).props("outlined autogrow").classes("s-set-control")

            def taken() -> None:
                add([line.strip() for line in (area.value or "").splitlines() if line.strip()])
                dialog.close()

            with ui.row().classes("s-dialog-buttons"):
                ui.button(say("newjob.cancel"), on_click=dialog.close).props("no-caps flat")
                ui.button(say("newjob.add"), on_click=taken).props("no-caps unelevated")
        dialog.open()

    build()


def _show_prompt(desk: Desk, rows: Rows, place: int, number: int, again: Any) -> None:
    path = f"{rows.path}.{place}"
    settings = {node.name: node for node in rows.nodes if isinstance(node, Setting)}
    text_path = f"{path}.{rows.short}"
    given = desk.given(text_path)

    def removed() -> None:
        desk.set(path, MISSING)
        again()

    def shifted(by: int) -> None:
        desk.take("", moved(desk.draft, rows.path, place, place + by))
        again()

    def with_trigger() -> None:
        text = area.value or ""
        area.set_value(
            text.replace(_TRIGGER, "").strip(" ,") if _TRIGGER in text else f"{_TRIGGER}, {text}".strip(", ")
        )

    name = say("newjob.prompt_number", number=place + 1)
    with ui.element("div").classes("s-prompt").props(f'data-setting="{text_path}"'):
        with ui.element("div").classes("s-prompt-line"):
            area = ui.textarea(
                value=given if isinstance(given, str) else "",
                on_change=lambda event: desk.set(text_path, event.value or ""),
            )
            area.props(f'outlined dense autogrow debounce=250 aria-label="{name}"').classes("s-set-control")
            with ui.element("div").classes("s-prompt-tools"):
                _tool("sell", say("newjob.trigger_in", name=name), with_trigger)
                fold_button = _tool("tune", say("newjob.settings_of", name=name), lambda: turn())
                _tool("arrow_upward", say("newjob.move_up", name=name), lambda: shifted(-1)).set_enabled(place > 0)
                _tool("arrow_downward", say("newjob.move_down", name=name), lambda: shifted(1)).set_enabled(
                    place + 1 < number
                )
                _tool("delete_outline", say("newjob.remove", name=name), removed)
        problem_slot(desk, text_path)
        problem_slot(desk, path)
        content = ui.element("div").classes("s-sets s-prompt-own")
        own = [setting for key, setting in settings.items() if key != rows.short]

        def fill() -> None:
            with content:
                for setting in own:
                    show_setting(desk, setting, f"{path}.{setting.name}")

        def turn() -> None:
            if not content.default_slot.children:
                fill()
                return
            content.set_visibility(not content.visible)

        if any(desk.given(f"{path}.{setting.name}") is not MISSING for setting in own):
            fill()
            fold_button.props("color=primary")
        for setting in own:
            desk.doors[f"{path}.{setting.name}"] = lambda: None if content.default_slot.children else fill()


def _tool(icon: str, name: str, on_click: Any) -> ui.button:
    button = ui.button(icon=icon, on_click=on_click).props(f'flat dense round size=sm aria-label="{name}"')
    button.props["title"] = name
    return button

"""The help of a setting in whole: its docstring's paragraphs, in a popover that is built when it is asked for."""

from __future__ import annotations

from nicegui import ui

from slipstream.web.parts.job_form.naming import about, is_translated
from slipstream.web.parts.say import say
from slipstream.web.services.form.entering import shown
from slipstream.web.services.form.layout import plain
from slipstream.web.services.form.schema import Group, Rows, Setting
from slipstream.web.services.form.values import MISSING

_TITLES = {"Formula": "formula", "Unit": "unit", "Change it when": "change_it_when", "Careful": "careful"}


def help_button(name: str, path: str, node: Setting | Group | Rows) -> None:
    """A button that shows everything that is known about a setting or group."""
    button = ui.button(icon="help_outline").props(
        f'flat dense round size=sm color=grey-6 aria-label="{say("newjob.help_on", name=name)}"'
    )
    button.classes("s-set-help-button")

    def show() -> None:
        if button.default_slot.children:
            return  # it opens by itself
        with button, ui.menu().props("max-width=440px max-height=70vh").classes("s-help") as menu:
            _content(name, path, node)
        menu.open()

    button.on_click(show)


def _content(name: str, path: str, node: Setting | Group | Rows) -> None:
    ui.label(name).classes("s-help-title")
    ui.label(path).classes("s-mono s-note")
    if is_translated(node):
        ui.label(about(node))
        ui.label(say("newjob.in_english")).classes("s-help-label")
    ui.label(plain(node.help))
    for title, text in node.details.items():
        with ui.element("div").classes("s-help-part"):
            ui.label(say(f"newjob.{_TITLES[title]}")).classes("s-help-label")
            ui.label(plain(text)).classes("s-mono" if title == "Formula" else "")
    if isinstance(node, Setting):
        _part(say("newjob.accepts"), plain(node.accepts))
        if not node.required:
            _part(say("newjob.default"), shown(node, MISSING) or say("newjob.left_out"))


def _part(title: str, text: str) -> None:
    with ui.element("div").classes("s-help-part"):
        ui.label(title).classes("s-help-label")
        ui.label(text)

"""The config as YAML, beside the form and always saying the same."""

from __future__ import annotations

import re

from nicegui import ui

from slipstream.web.parts.job_form.desk import Desk
from slipstream.web.parts.say import say
from slipstream.web.services.form.draft import read_draft

_IS_DARK = "document.body.classList.contains('body--dark')"
_LINE = re.compile(r"line (\d+)")


def show_yaml(desk: Desk, *, dark: bool) -> ui.codemirror:
    """An editor over the draft's text; what is typed is read at once, and is the draft even where it cannot be read."""
    ui.label(say("newjob.yaml_note")).classes("s-note")
    editor = ui.codemirror(
        desk.draft.text, language="YAML", theme="basicDark" if dark else "basicLight", line_wrapping=True, indent="  "
    ).classes("s-yaml")  # fmt: skip
    editor.props(f'aria-label="{say("newjob.yaml")}"')
    with ui.element("div").classes("s-set-problem").props('role="alert"') as box:
        message = ui.label()
        fix = ui.label().classes("s-set-fix")

    def show_problem() -> None:
        error = desk.draft.unreadable
        box.set_visibility(error is not None)
        if error is not None:
            line = _LINE.search(error.where or "")
            place = say("newjob.in_line", line=line[1]) if line else ""
            message.set_text(f"{place} {error.message}".strip())
            fix.set_text(error.fix or "")

    def typed() -> None:
        desk.take("yaml", read_draft(editor.value or ""))
        show_problem()

    def follow() -> None:
        if not editor.is_deleted and editor.value != desk.draft.text:
            editor.set_value(desk.draft.text)
            show_problem()

    editor.on_value_change(typed)
    desk.on_edit.append(follow)
    show_problem()
    return editor


async def page_is_dark() -> bool:
    """Whether the browser shows the page dark."""
    return bool(await ui.run_javascript(_IS_DARK, timeout=5.0))

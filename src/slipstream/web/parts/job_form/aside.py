"""Beside the form: what is wrong, and what is allowed and mostly regretted."""

from __future__ import annotations

from nicegui import ui

from slipstream.web.parts.job_form.desk import Desk
from slipstream.web.parts.job_form.jump import go_to, settings_named_in
from slipstream.web.parts.job_form.naming import called
from slipstream.web.parts.say import say
from slipstream.web.services.configs import SettingProblem
from slipstream.web.services.form.values import MISSING


def show_findings(desk: Desk) -> None:
    """Problems, each a way to its setting, and advice."""

    @ui.refreshable
    def content() -> None:
        checked = desk.checked
        if checked is None:
            ui.label(say("newjob.checking")).classes("s-note")
            return
        if not checked.problems:
            with ui.element("div").classes("s-finding s-good"):
                ui.icon("check_circle").props('aria-hidden="true"')
                ui.label(say("newjob.all_good"))
        for problem in checked.problems:
            _show_problem(desk, problem)
        for text in checked.advice:
            _show_advice(desk, text)

    with ui.element("section").classes("s-card").props(f'aria-label="{say("newjob.check")}" aria-live="polite"'):
        ui.label(say("newjob.check")).classes("s-card-title").props('role="heading" aria-level="2"')
        content()
    desk.on_check.append(content.refresh)


def _show_problem(desk: Desk, problem: SettingProblem) -> None:
    with ui.element("div").classes("s-finding s-bad"):
        ui.icon("error_outline").props('aria-hidden="true"')
        with ui.element("div").classes("s-finding-text"):
            if problem.path not in ("", "config"):
                with ui.element("button").classes("s-link").on("click", lambda: go_to(desk, problem.path)):
                    ui.label(_title(problem.path))
            ui.label(problem.message)
            if problem.fix:
                ui.label(problem.fix).classes("s-note")
            if problem.message == "unknown setting" and desk.given(problem.path) is not MISSING:
                remove = ui.element("button").classes("s-link")
                remove.on("click", lambda: desk.set(problem.path, MISSING))
                with remove:
                    ui.label(say("newjob.remove_setting"))


def _show_advice(desk: Desk, text: str) -> None:
    grave = text.startswith("WARNING")
    with ui.element("div").classes("s-finding s-grave" if grave else "s-finding s-advice"):
        ui.icon("warning_amber" if grave else "lightbulb").props('aria-hidden="true"')
        with ui.element("div").classes("s-finding-text"):
            ui.label(text)
            for path in settings_named_in(text)[:2]:
                with ui.element("button").classes("s-link").on("click", lambda path=path: go_to(desk, path)):
                    ui.label(_title(path))


def _title(path: str) -> str:
    panel, *rest = path.split(".")
    names = [
        str(int(part) + 1) if part.isdigit() else called(".".join([panel, *rest[: place + 1]]))
        for place, part in enumerate(rest)
    ]
    return " · ".join([panel.upper(), *names])

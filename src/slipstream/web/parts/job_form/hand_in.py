"""The bar at the bottom: whether all is well, and where the job goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from nicegui import ui

from slipstream.core.errors import SlipstreamError
from slipstream.web.parts.job_form.desk import Desk
from slipstream.web.parts.job_form.jump import go_to
from slipstream.web.parts.notices import tell, tell_error, told
from slipstream.web.parts.say import say
from slipstream.web.services.drafts import save_draft
from slipstream.web.services.new_jobs import hand_over, save_job


def show_bar(desk: Desk) -> None:
    """Start now, add to the queue, keep as a draft; a job that waits is saved instead."""
    settings = desk.studio.settings
    busy: list[ui.button] = []

    async def handed(work: Callable[[], Any], said: str) -> None:
        for button in busy:
            button.set_enabled(False)
        try:
            checked = await desk.check_now()
            if not checked.valid:
                ui.notify(say("newjob.repair_first"), type="warning")
                go_to(desk, checked.problems[0].path or "job")
                return
            job = await asyncio.to_thread(work)
            tell(say(said, name=job.name, id=job.id))
            _leave()
        except SlipstreamError as error:
            tell_error(error)
        finally:
            for button in busy:
                button.set_enabled(True)

    def keep() -> None:
        name = desk.given("job.name")
        with told():
            save_draft(settings.home, name if isinstance(name, str) and name.strip() else "draft", desk.draft.text)
            tell(say("newjob.draft_kept"))

    with ui.element("div").classes("s-handin"):
        state = ui.element("button").classes("s-handin-state").props('aria-live="polite"')
        state.on("click", lambda: go_to(desk, _first_problem(desk)))
        with state:
            icon, text = ui.icon("hourglass_empty"), ui.label(say("newjob.checking"))
        ui.space()
        undo = ui.button(icon="undo", on_click=desk.undo).props(f'flat round dense aria-label="{say("newjob.undo")}"')
        with undo:
            ui.tooltip(say("newjob.undo"))
        ui.button(say("newjob.keep_draft"), on_click=keep).props("no-caps flat")
        if desk.editing is not None:
            number = desk.editing
            save = ui.button(say("newjob.save_job"), icon="save")
            save.on_click(lambda: handed(lambda: save_job(settings, number, desk.draft.text), "newjob.job_saved"))
            busy.append(save.props("no-caps unelevated"))
        else:
            queue = ui.button(say("newjob.add_to_queue"), icon="playlist_add")
            queue.on_click(
                lambda: handed(lambda: hand_over(settings, desk.draft.text, first=False), "newjob.job_added")
            )
            start = ui.button(say("newjob.start_now"), icon="play_arrow")
            start.on_click(
                lambda: handed(lambda: hand_over(settings, desk.draft.text, first=True), "newjob.job_started")
            )
            busy += [queue.props("no-caps outline"), start.props("no-caps unelevated")]

    def show() -> None:
        undo.set_enabled(desk.can_undo)
        if desk.checked is None:
            return
        number = len(desk.checked.problems)
        state.classes(replace="s-handin-state s-bad" if number else "s-handin-state s-good")
        icon.set_name("error_outline" if number else "check_circle")
        text.set_text(say("newjob.one_problem" if number == 1 else "newjob.problems", number=number) if number else
                      say("newjob.ready"))  # fmt: skip

    def edited() -> None:
        undo.set_enabled(desk.can_undo)
        if desk.draft.comments_lost:
            ui.notify(say("newjob.comments_lost"), type="warning", multi_line=True, timeout=8000)

    show()
    desk.on_check.append(show)
    desk.on_edit.append(edited)


def _first_problem(desk: Desk) -> str:
    problems = () if desk.checked is None else desk.checked.problems
    return next((problem.path for problem in problems if problem.path), "job")


def _leave() -> None:
    """Go where the job is to be seen, once the studio has such a page."""
    from slipstream.web.pages.all import PAGES

    if any(page.path == "/queue" for page in PAGES):
        ui.navigate.to("/queue")

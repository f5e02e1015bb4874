"""New job: the nine panels as cards, what is wrong and the plan beside them, and the same as YAML.

`/new` starts from the default preset, `?preset=NAME` from another one, `?job=ID` from a job (one that waits is changed
itself), `?run=NAME` from a run, `?draft=NAME` from a kept draft, and `?dataset=NAME` has its pictures chosen.
"""

from __future__ import annotations

from nicegui import ui

from slipstream.config.presets import PRESETS
from slipstream.core.errors import SlipstreamError
from slipstream.web.pages.page import Page
from slipstream.web.parts.frame import frame
from slipstream.web.parts.job_form.aside import show_findings
from slipstream.web.parts.job_form.cards import show_cards
from slipstream.web.parts.job_form.desk import Desk
from slipstream.web.parts.job_form.hand_in import show_bar
from slipstream.web.parts.job_form.jump import show_search
from slipstream.web.parts.job_form.plan_card import show_plan
from slipstream.web.parts.job_form.start_from import show_start
from slipstream.web.parts.job_form.yaml_view import page_is_dark, show_yaml
from slipstream.web.parts.notices import tell_error
from slipstream.web.parts.say import say
from slipstream.web.services.datasets import find_dataset
from slipstream.web.services.drafts import read_kept
from slipstream.web.services.form.draft import Draft, changed, read_draft
from slipstream.web.services.form.starting import as_copy, from_preset, shortened, taken_names
from slipstream.web.services.new_jobs import job_to_edit
from slipstream.web.services.runs import find_run
from slipstream.web.studio import Studio


def register(studio: Studio) -> None:
    """Declare the page."""

    @ui.page("/new")
    def new_job(
        job: int | None = None, run: str | None = None, draft: str | None = None, dataset: str | None = None,
        preset: str | None = None,
    ) -> None:  # fmt: skip
        error = None
        try:
            desk = _desk(studio, job, run, draft, preset)
            if dataset is not None:
                folder = find_dataset(studio.settings.datasets_dir, dataset)
                desk.draft = changed(desk.draft, "datasets.0.path", str(folder.resolve()))
        except SlipstreamError as found:
            error, desk = found, _fresh(studio, None)
        title = None if desk.editing is None else "newjob.edit_title"
        with frame(studio, "newjob", wide=True) as column:
            if title is not None:
                ui.label(say(title, id=desk.editing)).classes("s-note")
            column.classes("s-newjob")
            _build(desk)
        if error is not None:
            tell_error(error)


PAGE = Page("newjob", "/new", "add_circle_outline", register)


def _desk(studio: Studio, job: int | None, run: str | None, draft: str | None, preset: str | None) -> Desk:
    """The page's draft from what its address asks for.

    Raises:
        SlipstreamError: there is no such job, run or draft.
    """
    settings = studio.settings
    if job is not None:
        found = job_to_edit(settings, job)
        if found.editable:
            return Desk(studio, ui.context.client, shortened(read_draft(found.text)), editing=found.id)
        return Desk(studio, ui.context.client, as_copy(found.text, taken_names(settings.runs_dir)))
    if run is not None:
        text = find_run(settings.runs_dir, run).config.read_text(encoding="utf-8")
        return Desk(studio, ui.context.client, as_copy(text, taken_names(settings.runs_dir)))
    if draft is not None:
        return Desk(studio, ui.context.client, read_draft(read_kept(settings.home, draft)))
    return _fresh(studio, preset)


def _fresh(studio: Studio, preset: str | None) -> Desk:
    preferences = studio.preferences.read()
    name = next((one for one in (preset, preferences.default_preset) if one in PRESETS), PRESETS[0])
    taken = taken_names(studio.settings.runs_dir)
    draft: Draft = from_preset(name, trigger_word=preferences.default_trigger_word, taken=taken)
    return Desk(studio, ui.context.client, draft, preset=name)


def _build(desk: Desk) -> None:
    with ui.element("div").classes("s-newjob-grid"):
        with ui.element("div").classes("s-newjob-main"):
            show_start(desk)
            with ui.element("div").classes("s-newjob-bar"):
                view = ui.toggle({"form": say("newjob.form"), "yaml": say("newjob.yaml")}, value="form")
                view.props("no-caps unelevated dense").classes("s-views")
                show_search(desk)
            cards = ui.element("div").classes("s-newjob-cards")
            text = ui.element("div").classes("s-card s-newjob-yaml")
        with ui.element("aside").classes("s-newjob-aside"):
            show_findings(desk)
            show_plan(desk)
    show_bar(desk)
    lasting = len(desk.on_edit), len(desk.on_check)
    seen: list[Draft] = []

    def build_cards() -> None:
        del desk.on_edit[lasting[0] :], desk.on_check[lasting[1] :]
        desk.slots.clear()
        desk.doors.clear()
        cards.clear()
        seen[:] = [desk.draft]
        with cards:
            if desk.draft.unreadable is None:
                show_cards(desk)
            else:
                _unreadable(desk)

    async def show() -> None:
        form = view.value == "form"
        cards.set_visibility(form)
        text.set_visibility(not form)
        text.clear()
        if form:
            if seen != [desk.draft]:
                build_cards()
            return
        dark = await page_is_dark()
        with text:
            show_yaml(desk, dark=dark)

    async def replaced() -> None:
        seen.clear()
        await show()

    desk.show_form = lambda: view.set_value("form")
    desk.on_replace.append(lambda: ui.timer(0, replaced, once=True))
    view.on_value_change(show)
    text.set_visibility(False)
    build_cards()
    desk.check_soon()


def _unreadable(desk: Desk) -> None:
    error = desk.draft.unreadable
    with ui.element("section").classes("s-card").props('role="alert"'):
        ui.label(say("newjob.unreadable")).classes("s-card-title")
        ui.label("" if error is None else f"{error.where}: {error.message}").classes("s-mono")
        ui.label(say("newjob.unreadable_note")).classes("s-note")

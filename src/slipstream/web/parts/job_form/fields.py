"""One setting as a field: label, help, control, what is wrong, and the way back to the default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui

from slipstream.web.parts.job_form.desk import Desk
from slipstream.web.parts.job_form.help import help_button
from slipstream.web.parts.job_form.naming import about, called
from slipstream.web.parts.say import say
from slipstream.web.services.configs import SettingProblem
from slipstream.web.services.datasets import list_datasets
from slipstream.web.services.form.concise import is_changed
from slipstream.web.services.form.entering import entered, shown
from slipstream.web.services.form.layout import follows_base, suggestions
from slipstream.web.services.form.schema import Setting
from slipstream.web.services.form.values import MISSING

Enter = Callable[[Any], None]
Put = Callable[[Any], object]
"""Show a value in the control without entering it."""

_OFF = "__off__"
_ELSEWHERE = "__elsewhere__"
_WIDE = ("table",)


def show_setting(desk: Desk, setting: Setting, path: str) -> None:
    """A field for the setting at `path` (with the real place in lists)."""
    wide = setting.kind in _WIDE or setting.name in ("path", "target_modules", "name_or_path", "default_caption")
    with ui.element("div").classes("s-set s-set-wide" if wide else "s-set").props(f'data-setting="{path}"'):
        name = called(path)
        with ui.element("div").classes("s-set-head"):
            ui.label(name).classes("s-set-label")
            default = _default(desk, setting)
            title = say("newjob.reset_to", value=default or say("newjob.left_out"))
            reset = ui.button(icon="undo").classes("s-set-reset")
            reset.props(f'flat dense round size=xs aria-label="{say("newjob.reset", name=name)}"')
            reset.props["title"] = title
            ui.space()
            help_button(name, path, setting)
        put: list[Put] = []

        def mark() -> None:
            reset.set_visibility(is_changed(setting, desk.given(path)))

        def enter(value: Any) -> None:
            if desk.given(path) is MISSING and value in (setting.default, _default(desk, setting)):
                return  # the default stands there already
            desk.set(path, value)
            mark()

        def back() -> None:
            enter(MISSING)
            put[0](MISSING)

        put.append(_control(desk, setting, path, enter))
        reset.on_click(back)
        ui.label(about(setting)).classes("s-set-help")
        problem_slot(desk, path)
        mark()


def problem_slot(desk: Desk, path: str) -> None:
    """A line that shows what is wrong at a path, and nothing where nothing is."""
    box = ui.element("div").classes("s-set-problem").props('role="alert"')

    def show(problem: SettingProblem | None) -> None:
        if box.is_deleted:
            return
        box.set_visibility(problem is not None)
        box.clear()
        if problem is not None:
            with box:
                ui.label(problem.message)
                if problem.fix:
                    ui.label(problem.fix).classes("s-set-fix")

    desk.slots[path] = show
    show(desk.problem_at(path))


def _control(desk: Desk, setting: Setting, path: str, enter: Enter) -> Put:
    if setting.path == "datasets.0.path":
        return _dataset(desk, setting, path, enter)
    if setting.kind == "switch":
        return _switch(desk, setting, path, enter)
    if setting.kind == "choice":
        return _choice(desk, setting, path, enter)
    if setting.kind == "list" and setting.choices:
        return _several(desk, setting, path, enter)
    return _text(desk, setting, path, enter)


def _switch(desk: Desk, setting: Setting, path: str, enter: Enter) -> Put:
    value = desk.given(path)
    box = ui.switch(
        value=bool(setting.default if value is MISSING else value), on_change=lambda event: enter(event.value)
    )
    box.props(f'dense aria-label="{called(path)}"').classes("s-set-switch")
    return lambda value: box.set_value(bool(setting.default if value is MISSING else value))


def _choice(desk: Desk, setting: Setting, path: str, enter: Enter) -> Put:
    options: dict[Any, str] = {_OFF: say("newjob.off")} if setting.may_be_off else {}
    options |= {choice: str(choice) for choice in setting.choices}

    def key(value: Any) -> Any:
        value = setting.default if value is MISSING else value
        if value is None and setting.may_be_off:
            return _OFF
        return value if isinstance(value, str | int) and value in options else None

    box = ui.select(
        options,
        value=key(desk.given(path)),
        on_change=lambda event: enter(MISSING if event.value == _OFF else event.value),
    )
    box.props(f'outlined dense options-dense aria-label="{called(path)}"').classes("s-set-control")
    return lambda value: box.set_value(key(value))


def _several(desk: Desk, setting: Setting, path: str, enter: Enter) -> Put:
    def known(value: Any) -> list[Any]:
        value = setting.default if value is MISSING else value
        return [one for one in value if one in setting.choices] if isinstance(value, list) else []

    box = ui.select(
        list(setting.choices), multiple=True, value=known(desk.given(path)), on_change=lambda event: enter(event.value)
    )  # fmt: skip
    box.props(f'outlined dense options-dense use-chips aria-label="{called(path)}"').classes("s-set-control")
    return lambda value: box.set_value(known(value))


def _text(desk: Desk, setting: Setting, path: str, enter: Enter) -> Put:
    def as_text(value: Any) -> str:
        return _default(desk, setting) if value is MISSING and setting.default is not None else shown(setting, value)

    text = as_text(desk.given(path))
    kind = ui.textarea if setting.kind == "table" else ui.input
    box = kind(value=text, on_change=lambda event: enter(entered(setting, event.value or "")))
    box.props(f'outlined dense debounce=250 aria-label="{called(path)}"').classes("s-set-control")
    if setting.kind in ("whole", "number"):
        box.props("inputmode=decimal").classes("s-number")
    if setting.kind == "table":
        box.props('autogrow placeholder="name: value"').classes("s-mono")
    elif setting.default is None and not setting.required:
        follows = _default(desk, setting)
        box.props["placeholder"] = f"{say('newjob.left_out')}: {follows}" if follows else say("newjob.left_out")
    if offered := suggestions(setting.path, desk.given("model.variant")):
        _menu_of(box, setting, offered)
    return lambda value: box.set_value(as_text(value))


def _default(desk: Desk, setting: Setting) -> str:
    """What counts where a setting is left out, as text; empty where that is nothing."""
    if setting.path == "job.output_dir":
        return str(desk.studio.settings.runs_dir.resolve())
    follows = follows_base(setting.path, desk.given("model.variant"))
    return shown(setting, MISSING if follows is None else follows)


def _menu_of(box: Any, setting: Setting, offered: tuple[str | float, ...]) -> None:
    """Choices at the end of a text field; in a list each is added or taken out."""

    def choose(choice: str | float) -> None:
        if setting.kind != "list":
            box.set_value(str(choice))
            return
        listed = [piece.strip() for piece in (box.value or "").split(",") if piece.strip()]
        text = str(choice)
        after = [one for one in listed if one != text] if text in listed else [*listed, text]
        if setting.numeric:
            after.sort(key=lambda one: float(one) if one.replace(".", "").isdigit() else 0.0)
        box.set_value(", ".join(after))

    with box.add_slot("append"):
        button = ui.button(icon="arrow_drop_down").props("flat dense round size=sm")
        button.props(f'aria-label="{say("newjob.choices", name=called(setting.path))}"')
        with button, ui.menu().props('anchor="bottom right" self="top right" max-height="320px"'):
            for choice in offered:
                ui.menu_item(str(choice), lambda choice=choice: choose(choice), auto_close=setting.kind != "list")


def _dataset(desk: Desk, setting: Setting, path: str, enter: Enter) -> Put:
    """The studio's datasets with their numbers of pictures, or any folder."""
    folder = desk.studio.settings.datasets_dir.resolve()
    found = {str(folder / one.name): one for one in list_datasets(folder)}
    options = {
        key: say("newjob.dataset_option", name=one.name, number=one.num_pictures, captions=one.num_captions)
        for key, one in found.items()
    }
    options[_ELSEWHERE] = say("newjob.another_folder")

    def key(value: Any) -> Any:
        if not isinstance(value, str) or not value:
            return None
        whole = str((folder / value).resolve())
        return whole if whole in found else _ELSEWHERE

    def chosen(value: Any) -> None:
        typed.set_visibility(value == _ELSEWHERE)
        if value != _ELSEWHERE:
            enter(value or "")

    given = desk.given(path)
    box = ui.select(options, value=key(given), on_change=lambda event: chosen(event.value))
    box.props(f'outlined dense options-dense aria-label="{say("newjob.dataset")}"').classes("s-set-control")
    box.props(f'''label="{say("newjob.choose_dataset" if found else "newjob.no_datasets")}"''')
    typed = ui.input(
        say("newjob.folder"),
        value=shown(setting, given),
        on_change=lambda event: enter(entered(setting, event.value or "")),
    )
    typed.props("outlined dense debounce=250").classes("s-set-control s-mono")
    typed.set_visibility(key(given) == _ELSEWHERE)
    return lambda value: box.set_value(key(value))

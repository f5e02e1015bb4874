"""The nine panels as cards: settings, groups that can be switched on, and lists of groups."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nicegui import ui

from slipstream.config.variants import VARIANTS
from slipstream.config.yaml_text import read_yaml
from slipstream.core.errors import ConfigError
from slipstream.web.parts.job_form.desk import Desk
from slipstream.web.parts.job_form.fields import problem_slot, show_setting
from slipstream.web.parts.job_form.help import help_button
from slipstream.web.parts.job_form.naming import about, called, is_translated
from slipstream.web.parts.job_form.prompts import show_prompts
from slipstream.web.parts.say import say
from slipstream.web.services.form.concise import is_changed
from slipstream.web.services.form.layout import is_common, label, plain
from slipstream.web.services.form.schema import Group, Node, Rows, Setting, form, settings_in
from slipstream.web.services.form.starting import with_variant
from slipstream.web.services.form.values import MISSING

_EXAMPLE = re.compile(r"`(\w+): (\{[^`]*\})`")
"""What a docstring shows for switching a group on: `ema: {decay: 0.99}`."""


def show_cards(desk: Desk) -> None:
    """All panels, in the guide's order."""
    for panel in form():
        title, text = panel.path.upper(), about(panel) if is_translated(panel) else panel.help.partition(": ")[2]
        with ui.element("section").classes("s-card s-panel").props(f'data-panel="{panel.path}" aria-label="{title}"'):
            with ui.element("div").classes("s-panel-head"):
                ui.label(title).classes("s-card-title").props('role="heading" aria-level="2"')
                ui.label(text[:1].upper() + text[1:]).classes("s-note")
            if isinstance(panel, Rows):
                _show_rows(desk, panel)
            else:
                _show_inside(desk, panel, panel.path)


def _show_inside(desk: Desk, group: Group, path: str) -> None:
    """The settings of a group at its place: the usual ones, and the others behind a fold."""
    tag = MISSING if group.tag is None else desk.given(f"{path}.{group.tag}")
    if group.tag is not None:
        tag = tag if tag in group.forms else next(iter(group.forms))
        _show_tag(desk, group, path, str(tag))
    nodes = [node for node in group.nodes(tag) if node.name != group.tag]
    _show_nodes(desk, nodes, path, open_all=group.may_be_off)
    problem_slot(desk, path)


def _show_nodes(desk: Desk, nodes: Sequence[Node], path: str, *, open_all: bool = False) -> None:
    usual = [node for node in nodes if open_all or is_common(node)]
    others = [node for node in nodes if node not in usual]
    with ui.element("div").classes("s-sets"):
        for node in usual:
            _show_node(desk, node, f"{path}.{node.name}")
    if others:
        _show_fold(desk, others, path)


def _show_node(desk: Desk, node: Node, path: str) -> None:
    if isinstance(node, Setting):
        show_setting(desk, node, path)
    elif isinstance(node, Rows):
        _show_rows(desk, node)
    elif node.may_be_off:
        _show_switched(desk, node, path)
    else:
        _show_inside(desk, node, path)


def _show_fold(desk: Desk, nodes: Sequence[Node], path: str) -> None:
    """Settings that few change; they are made when the fold is opened."""
    settings = [setting for node in nodes for setting in settings_in(node)]
    paths = [_placed(setting.path, path) for setting in settings]

    def title() -> str:
        number = sum(is_changed(setting, desk.given(one)) for setting, one in zip(settings, paths, strict=True))
        more = say("newjob.more", number=len(settings))
        return more + (f" · {say('newjob.changed', number=number)}" if number else "")

    fold = ui.expansion(title()).classes("s-fold").props("dense expand-separator=false")
    with fold:
        content = ui.element("div").classes("s-sets")

    def fill() -> None:
        if content.default_slot.children:
            return
        with content:
            for node in nodes:
                _show_node(desk, node, f"{path}.{node.name}")

    def opened() -> None:
        fill()
        fold.set_value(True)

    fold.on_value_change(lambda event: fill() if event.value else None)
    for one in paths:
        desk.doors[one] = opened
    desk.on_edit.append(lambda: None if fold.is_deleted else fold.set_text(title()))

    def look_for_problems() -> None:
        if fold.is_deleted:
            return
        problems = () if desk.checked is None else desk.checked.problems
        if any(problem.path == one for problem in problems for one in paths):
            opened()

    desk.on_check.append(look_for_problems)


def _placed(pattern: str, path: str) -> str:
    """A setting's path with the place in a list that the path around it has."""
    real, names = path.split("."), pattern.split(".")
    return ".".join([*real, *names[len(real) :]])


def _show_tag(desk: Desk, group: Group, path: str, tag: str) -> None:
    """Which of several panels a group is."""
    bases = group.path == "model"
    options = {name: VARIANTS[name].label if bases else label(name) for name in group.forms}

    def chosen(name: str) -> None:
        if bases:
            desk.replace(with_variant(desk.draft, name))
            return
        known = {node.name for node in group.nodes(name)}
        given = desk.given(path)
        kept = {key: value for key, value in given.items() if key in known} if isinstance(given, Mapping) else {}
        desk.set(path, {**kept, str(group.tag): name})
        desk.replace(desk.draft)

    tag_path = f"{path}.{group.tag}"
    with ui.element("div").classes("s-set s-set-wide").props(f'data-setting="{tag_path}"'):
        choice = ui.toggle(options, value=tag, on_change=lambda event: chosen(event.value))
        choice.props(f'no-caps unelevated spread aria-label="{called(tag_path)}"').classes("s-bases")
        setting = next(node for node in group.nodes(tag) if node.name == group.tag)
        ui.label(about(setting) if is_translated(setting) else plain(setting.help)).classes("s-set-help")
        problem_slot(desk, tag_path)


def _show_switched(desk: Desk, group: Group, path: str) -> None:
    """A group that is off unless it is given."""
    name = called(path)
    with ui.element("div").classes("s-switched").props(f'data-setting="{path}"'):
        given = desk.given(path)
        is_on = given is not MISSING and given is not None
        with ui.element("div").classes("s-set-head"):
            switch = ui.switch(name, value=is_on).props("dense").classes("s-switched-name")
            ui.space()
            help_button(name, path, group)
        ui.label(about(group)).classes("s-set-help")
        content = ui.element("div").classes("s-switched-inside")

        def fill() -> None:
            content.clear()
            if switch.value:
                with content:
                    _show_inside(desk, group, path)

        def turned(on: bool) -> None:
            desk.set(path, _first_values(group) if on else MISSING)
            fill()

        fill()
        if not is_on:
            problem_slot(desk, path)
        switch.on_value_change(lambda event: turned(bool(event.value)))


def _first_values(group: Group) -> dict[str, Any]:
    """What a group is switched on with: what its help shows, else the first choice where one must be made."""
    for name, example in _EXAMPLE.findall(" ".join([group.help, *group.details.values()])):
        try:
            value = read_yaml(example, group.path) if name == group.name else None
        except ConfigError:
            continue
        if isinstance(value, dict):
            return value
    settings = [node for node in group.nodes() if isinstance(node, Setting)]
    return {one.name: one.choices[0] for one in settings if one.required and one.choices and one.name != group.tag}


def _show_rows(desk: Desk, rows: Rows) -> None:
    """A list of groups, each on a card of its own; where a row may be one plain text they are lines."""
    if rows.short is not None:
        show_prompts(desk, rows)
        return
    box = ui.element("div").classes("s-rows").props(f'data-setting="{rows.path}"')

    def build() -> None:
        box.clear()
        given = desk.given(rows.path)
        number = len(given) if isinstance(given, list) else 0
        with box:
            for place in range(number):
                _show_row(desk, rows, place, number, build)
            problem_slot(desk, rows.path)
            add = ui.button(say("newjob.add_dataset"), icon="add", on_click=lambda: added(number))
            add.props("no-caps outline").classes("s-add")

    def added(number: int) -> None:
        first = next(node.name for node in rows.nodes if isinstance(node, Setting) and node.required)
        desk.set(f"{rows.path}.{number}", {first: ""})
        build()

    build()


def _show_row(desk: Desk, rows: Rows, place: int, number: int, again: Callable[[], None]) -> None:
    path = f"{rows.path}.{place}"

    def removed() -> None:
        desk.set(path, MISSING)
        again()

    with ui.element("div").classes("s-row"):
        with ui.element("div").classes("s-set-head"):
            ui.label(say("newjob.dataset_number", number=place + 1)).classes("s-row-title")
            ui.space()
            if number > rows.least:
                ui.button(icon="delete_outline", on_click=removed).props(
                    f'flat dense round size=sm aria-label="{say("newjob.remove_dataset", number=place + 1)}"'
                )
        _show_nodes(desk, rows.nodes, path)
        problem_slot(desk, path)

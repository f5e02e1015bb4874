"""Going to a setting: opening what it stands in, and looking for one by name."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from nicegui import ui

from slipstream.config.reference import find_setting
from slipstream.core.errors import ConfigError
from slipstream.web.parts.job_form.desk import Desk
from slipstream.web.parts.job_form.naming import about, called
from slipstream.web.parts.say import say
from slipstream.web.services.form.schema import form, settings_in

_MOST = 8
_PATH = re.compile(r"\b(?:job|model|quantization|target|save|training|datasets|sample|advanced)(?:\.[a-z0-9_]+)+")
_GO = """(paths => { let tries = 0; const look = () => {
  for (const path of paths) {
    const found = document.querySelector(`[data-setting="${path}"], [data-panel="${path}"]`);
    if (found && found.offsetParent !== null && (path === paths[0] || tries > 8)) {
      found.scrollIntoView({block: "center"});
      found.classList.add("s-found");
      setTimeout(() => found.classList.remove("s-found"), 1600);
      found.querySelector("input, textarea, [role=switch], button")?.focus({preventScroll: true});
      return;
    }
  }
  if (++tries < 20) setTimeout(look, 50);
}; look(); })(%s)"""


@dataclass(frozen=True)
class _Found:
    path: str
    title: str
    about: str


def go_to(desk: Desk, path: str) -> None:
    """Show a setting, or the nearest of what it stands in."""
    steps = path.split(".")
    nearest = [".".join(steps[:length]) for length in range(len(steps), 0, -1)]
    if desk.show_form is not None:
        desk.show_form()
    if path in desk.doors:
        desk.doors[path]()
    ui.run_javascript(_GO % json.dumps(nearest))


def settings_named_in(text: str) -> list[str]:
    """The settings that a sentence names, as paths of the form."""
    known = {setting.path for panel in form() for setting in settings_in(panel)}
    named = (re.sub(r"^datasets\.(?!\d)", "datasets.0.", found) for found in _PATH.findall(text))
    return [path for path in dict.fromkeys(named) if re.sub(r"\.\d+\.", ".0.", path) in known]


def show_search(desk: Desk) -> None:
    """A field that finds settings by name, by words of their help, and by what other trainers call them."""
    with ui.element("div").classes("s-search"):
        box = ui.input(placeholder=say("newjob.search")).props("outlined dense clearable debounce=150")
        box.props(f'aria-label="{say("newjob.search")}"').classes("s-search-field")
        with box.add_slot("prepend"):
            ui.icon("search")
        results = (
            ui.element("div").classes("s-search-results").props(f'role="listbox" aria-label="{say("newjob.found")}"')
        )
        results.set_visibility(False)

    def choose(path: str) -> None:
        box.set_value("")
        go_to(desk, path)

    def look() -> None:
        text = (box.value or "").strip()
        results.clear()
        results.set_visibility(bool(text))
        with results:
            found = look_for(text) if text else []
            for one in found:
                with ui.element("button").classes("s-search-result").props('role="option"') as row:
                    ui.label(one.title).classes("s-set-label")
                    ui.label(one.about).classes("s-note")
                row.on("click", lambda path=one.path: choose(path))
            if text and not found:
                ui.label(say("newjob.nothing_found")).classes("s-note s-search-none")

    def enter() -> None:
        found = look_for((box.value or "").strip())
        if found:
            choose(found[0].path)

    box.on_value_change(look)
    box.on("keydown.enter", enter)
    box.on("keydown.escape", lambda: box.set_value(""))


def look_for(text: str) -> list[_Found]:
    """The settings that a text may mean, the likeliest first."""
    words = text.lower().replace("_", " ").split()
    scored: list[tuple[int, int, _Found]] = []
    for place, setting in enumerate(setting for panel in form() for setting in settings_in(panel)):
        name, path = called(setting.path).lower(), setting.path.replace("_", " ").lower()
        everything = " ".join([path, name, about(setting), setting.help, *setting.details.values()]).lower()
        if not words or not all(word in everything for word in words):
            continue
        score = 3 * name.startswith(" ".join(words)) + 2 * all(word in name for word in words)
        score += all(word in path for word in words)
        title = f"{setting.path.partition('.')[0].upper()} · {called(setting.path)}"
        scored.append((-score, place, _Found(setting.path, title, about(setting))))
    found = [one for _, _, one in sorted(scored, key=lambda entry: entry[:2])]
    return _foreign(text, found)[:_MOST]


def _foreign(text: str, found: list[_Found]) -> list[_Found]:
    """What another trainer calls so comes first."""
    try:
        meant = find_setting(text) if text else []
    except ConfigError:
        return found
    if len(meant) != 1 or any(one.path == meant[0].path for one in found[:1]):
        return found
    one = meant[0]
    title = f"{one.path.partition('.')[0].upper()} · {called(one.path)}"
    return [_Found(one.path, title, about(one)), *[other for other in found if other.path != one.path]]

"""The frame of every page: header, navigation, and the column that the page fills."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nicegui import ui

from slipstream.web.parts.say import say, use_language
from slipstream.web.studio import Studio
from slipstream.web.theme import apply_theme


@contextmanager
def frame(studio: Studio, current: str, *, title: str | None = None, wide: bool = False) -> Iterator[ui.column]:
    """A page's frame; what is built within the block goes into its column.

    Args:
        studio: the studio.
        current: the name of the page, which the navigation marks.
        title: the heading, by default the page's name.
        wide: use the whole width (grids, comparisons) instead of one that reads well.
    """
    preferences = studio.preferences.read()
    language = use_language(preferences.language)
    apply_theme(preferences.theme)
    ui.run_javascript(f"document.documentElement.lang = '{language}'")
    heading = title or say(f"nav.{current}")
    ui.page_title(f"{heading} · Slipstream")
    drawer = _navigation(studio, current)
    with ui.header().classes("s-header").props("height-hint=56"):
        ui.link(say("nav.skip"), "#main").classes("s-skip")  # the first that the Tab key reaches
        ui.button(icon="menu", on_click=drawer.toggle).props(f'flat round aria-label="{say("nav.menu")}"').classes(
            "s-only-narrow"
        )
        ui.link("slipstream", "/").classes("s-brand").props(f'aria-label="{say("nav.dashboard")}"')
        ui.space()
        if studio.settings.token is not None:
            _log_out()
    with ui.element("div").classes("s-main s-wide" if wide else "s-main").props('id="main" tabindex="-1"'):
        ui.label(heading).classes("s-title").props('role="heading" aria-level="1"')
        with ui.column().classes("s-column") as column:
            yield column


def _log_out() -> None:
    button = ui.button(icon="logout").props(f'flat round aria-label="{say("nav.log_out")}"').tooltip(say("nav.log_out"))
    button.on("click", js_handler="() => fetch('/logout', {method: 'POST'}).then(() => location.assign('/login'))")


def _navigation(studio: Studio, current: str) -> ui.left_drawer:
    from slipstream.web.pages.all import PAGES

    drawer = ui.left_drawer(bordered=True).classes("s-drawer").props("width=220 breakpoint=1024 show-if-above")
    with drawer, ui.element("nav").props(f'aria-label="{say("nav.label")}"'):
        for page in PAGES:
            link = ui.link(target=page.path).classes("s-nav")
            if page.name == current:
                link.classes("s-nav-current").props('aria-current="page"')
            with link:
                ui.icon(page.icon).props('aria-hidden="true"')
                ui.label(say(f"nav.{page.name}"))
    return drawer

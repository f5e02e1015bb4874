"""Settings: language, looks, defaults, folders, and the Hugging Face token."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from slipstream.web.pages.page import Page
from slipstream.web.parts.cards import card
from slipstream.web.parts.frame import frame
from slipstream.web.parts.notices import tell, told
from slipstream.web.parts.say import say
from slipstream.web.services.hub_token import forget_hub_token, hub_login, set_hub_token
from slipstream.web.studio import Studio


def register(studio: Studio) -> None:
    """Declare the page."""

    @ui.page("/settings")
    def settings() -> None:
        with frame(studio, "settings"):
            _looks(studio)
            _defaults(studio)
            _hub_card()
            _folders(studio)


PAGE = Page("settings", "/settings", "settings", register)


def _looks(studio: Studio) -> None:
    now = studio.preferences.read()
    with card(say("settings.looks")):
        _choice(say("settings.theme"), {name: say(f"settings.theme_{name}") for name in ("auto", "light", "dark")},
                now.theme, lambda value: _change(studio, theme=value))  # fmt: skip
        languages = {"auto": say("settings.language_auto"), "en": "English", "es": "Español"}
        _choice(
            say("settings.language"), languages, now.language, lambda value: _change(studio, language=value)
        )  # fmt: skip


def _choice(label: str, options: dict[str, str], value: str, on_change: Callable[[str], None]) -> None:
    select = ui.select(options, value=value, label=label, on_change=lambda event: on_change(event.value))
    select.classes("s-field").props("outlined dense")


def _change(studio: Studio, **values: object) -> None:
    """Set preferences and show the page as it now is."""
    with told():
        studio.preferences.change(**values)
        ui.navigate.reload()


def _defaults(studio: Studio) -> None:
    now = studio.preferences.read()

    def save(**values: object) -> None:
        with told():
            studio.preferences.change(**values)
            tell(say("settings.saved"))

    def field(key: str, name: str, value: str) -> None:
        box = ui.input(say(key), value=value).classes("s-field").props("outlined dense")
        box.on("blur", lambda: save(**{name: box.value}))
        box.on("keydown.enter", lambda: save(**{name: box.value}))

    with card(say("settings.defaults")):
        field("settings.default_trigger_word", "default_trigger_word", now.default_trigger_word)
        field("settings.captioning_model", "captioning_model", now.captioning_model)


def _hub_card() -> None:
    @ui.refreshable
    def content() -> None:
        login = hub_login()
        if login.from_environment:
            ui.label(say("settings.hub_environment")).classes("s-note")
            return
        ui.label(say("settings.hub_set" if login.is_set else "settings.hub_unset")).classes("s-note")
        box = ui.input(say("settings.hub_token"), password=True).classes("s-field")
        box.props('outlined dense autocomplete="off"')

        def store() -> None:
            with told():
                set_hub_token(box.value)
                tell(say("settings.saved"))
                content.refresh()

        def forget() -> None:
            forget_hub_token()
            content.refresh()

        with ui.row():
            ui.button(say("settings.hub_store"), on_click=store).props("no-caps unelevated")
            if login.is_set:
                ui.button(say("settings.hub_forget"), on_click=forget).props("no-caps flat")

    with card(say("settings.hub"), note=say("settings.hub_note")):
        content()


def _folders(studio: Studio) -> None:
    settings = studio.settings
    with card(say("settings.folders"), note=say("settings.folders_note")):
        for key, path in (("runs", settings.runs_dir), ("datasets", settings.datasets_dir), ("home", settings.home)):
            with ui.element("div").classes("s-figure"):
                ui.label(say(f"settings.folder_{key}")).classes("s-figure-label")
                ui.label(str(path)).classes("s-mono")

"""Texts in the language of the page that is being built or acted on."""

from __future__ import annotations

from nicegui import context
from starlette.requests import Request

from slipstream.web.language.words import LANGUAGES, preferred, say_in
from slipstream.web.services.preferences import Language

_KEY = "slipstream_language"


def use_language(language: Language) -> str:
    """Choose the language of the page that is being built; `auto` asks its browser. Returns the choice."""
    request: Request | None = context.client.request
    header = "" if request is None else request.headers.get("accept-language", "")
    chosen = preferred(header) if language == "auto" else language
    context.client.storage[_KEY] = chosen
    return chosen


def language_now() -> str:
    """The language of the page that is being built or acted on."""
    return str(context.client.storage.get(_KEY, LANGUAGES[0]))


def say(key: str, **values: object) -> str:
    """The text of a key, with its `{names}` filled in; to be called where a page is built or in its handlers."""
    return say_in(language_now(), key, **values)

"""Looking texts up: `say("queue.title")` is the key `title` of `queue.toml` in the language of the page."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

LANGUAGES = ("en", "es")
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class FieldWords:
    """What a setting, a group or a panel of the form is called, and one sentence about it."""

    label: str
    help: str


@cache
def field_words(language: str) -> Mapping[str, FieldWords]:
    """By path, with 0 for the place in a list; empty for English, whose words are the settings' own docstrings."""
    path = _FOLDER / "fields" / f"{language}.toml"
    if not path.is_file():
        return MappingProxyType({})
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    return MappingProxyType({name: FieldWords(**words) for name, words in found.items()})


@cache
def texts(language: str) -> Mapping[str, str]:
    """All texts of a language by key: `<file>.<key>`."""
    found: dict[str, str] = {}
    for path in sorted((_FOLDER / language).glob("*.toml")):
        for key, text in tomllib.loads(path.read_text(encoding="utf-8")).items():
            found[f"{path.stem}.{key}"] = text
    return MappingProxyType(found)


def say_in(language: str, key: str, **values: object) -> str:
    """The text of a key in a language, with its `{names}` filled in.

    Raises:
        KeyError: there is no such text (a test finds every key that is asked for).
    """
    return texts(language)[key].format(**values) if values else texts(language)[key]


def preferred(accept_language: str) -> str:
    """The language that a browser would like best, of those that are there; English where none is."""
    wishes: list[tuple[float, int, str]] = []
    for part in accept_language.split(","):
        name, _, rest = part.strip().partition(";")
        quality = rest.strip().removeprefix("q=") if rest else "1"
        try:
            wishes.append((-float(quality), len(wishes), name.strip().lower().partition("-")[0]))
        except ValueError:
            continue
    return next((name for _, _, name in sorted(wishes) if name in LANGUAGES), LANGUAGES[0])

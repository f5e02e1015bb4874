"""What settings are called in the language of the page. English words are the settings' own; a language that lacks a
setting shows those."""

from __future__ import annotations

import re
from typing import Protocol

from slipstream.web.language.words import field_words
from slipstream.web.parts.say import language_now
from slipstream.web.services.form.layout import first_sentence, label, plain
from slipstream.web.services.form.starting import PresetChoice


class Described(Protocol):
    """Something of the form that has words of its own, in English."""

    @property
    def path(self) -> str:
        """Where it stands."""

    @property
    def help(self) -> str:
        """Its docstring."""


def called(path: str) -> str:
    """The name of a setting, group or panel by its path, whatever the places in lists are."""
    words = field_words(language_now()).get(_pattern(path))
    return label(path.rpartition(".")[2]) if words is None else words.label


def about(node: Described) -> str:
    """One sentence about it."""
    words = field_words(language_now()).get(_pattern(node.path))
    return first_sentence(node.help) if words is None else words.help


def is_translated(node: Described) -> bool:
    """Whether `about` is in another language than the node's own help."""
    return _pattern(node.path) in field_words(language_now())


def about_preset(choice: PresetChoice) -> tuple[str, str]:
    """The first line of a preset, and what it says below."""
    words = field_words(language_now()).get(f"presets.{choice.name}")
    return (plain(choice.title), plain(choice.text)) if words is None else (words.label, words.help)


def _pattern(path: str) -> str:
    return re.sub(r"\.\d+(?=\.|$)", ".0", path)

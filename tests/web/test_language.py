"""Every visible text is there in every language, and nothing is written into the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from string import Formatter

import pytest

import slipstream.web
from slipstream.config.presets import PRESETS
from slipstream.web.language.words import LANGUAGES, field_words, preferred, say_in, texts
from slipstream.web.services.form.schema import Group, Node, Rows, form

WEB = Path(slipstream.web.__file__).parent
SPOKEN = ("label", "button", "tooltip", "input", "select", "checkbox", "switch", "textarea", "notify", "number", "link")
"""Functions of NiceGUI whose first argument is read by a person."""

NAMES = {"English", "Español", "slipstream", "GPU {}"}
"""What is called the same in every language."""


def trees() -> list[tuple[Path, ast.AST]]:
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in sorted(WEB.rglob("*.py"))]


def names_in(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("language", LANGUAGES)
def test_languages_have_the_same_texts_with_the_same_names_in_them(language):
    english, other = texts("en"), texts(language)
    assert set(english) == set(other)
    assert {key: names_in(text) for key, text in english.items()} == {k: names_in(text) for k, text in other.items()}
    assert all(text.strip() for text in other.values())


def test_every_text_that_is_asked_for_is_there_and_every_text_is_asked_for():
    literal, patterns = set(), []
    for _, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                literal.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = [re.escape(p.value) if isinstance(p, ast.Constant) else "[a-z0-9_]+" for p in node.values]
                patterns.append(re.compile("".join(parts)))
    known = set(texts("en"))
    asked = {
        node.args[position].value
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("say", "say_in")
        for position in (1 if node.func.id == "say_in" else 0,)
        if len(node.args) > position and isinstance(node.args[position], ast.Constant)
    }
    assert asked - known == set()
    assert {key for key in known - literal if not any(pattern.fullmatch(key) for pattern in patterns)} == set()


def paths_of_the_form() -> set[str]:
    """Every panel, group and setting, and every preset."""
    found: set[str] = set()

    def walk(node: Node) -> None:
        found.add(node.path)
        forms = node.forms.values() if isinstance(node, Group) else [node.nodes] if isinstance(node, Rows) else []
        for nodes in forms:
            for inner in nodes:
                walk(inner)

    for panel in form():
        walk(panel)
    return found | {f"presets.{name}" for name in PRESETS}


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_every_setting_and_preset_has_a_name_and_a_sentence_in_every_language(language):
    words = field_words(language)
    assert paths_of_the_form() - set(words) == set()
    assert all(one.label.strip() and one.help.endswith(".") for one in words.values())
    assert field_words("en") == {}, "English words are the settings' own"


def test_no_visible_text_is_written_into_the_code():
    found = []
    for path, tree in trees():
        for node in ast.walk(tree):
            is_ui = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SPOKEN
            if not is_ui or getattr(node.func.value, "id", "") != "ui" or not node.args:
                continue
            first = node.args[0]
            text = first.value if isinstance(first, ast.Constant) else None
            if isinstance(text, str) and re.search(r"[^\W\d_]{2}", text) and text not in NAMES:
                found.append(f"{path.name}:{node.lineno}: {text!r}")
    assert found == []


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("es-MX,es;q=0.9,en;q=0.8", "es"),
        ("en-GB,en;q=0.9,es;q=0.8", "en"),
        ("fr,es;q=0.5", "es"),
        ("fr;q=x, es;q=0.1", "es"),
        ("", "en"),
        ("ja", "en"),
    ],
)
def test_the_browsers_wishes_are_read(header, language):
    assert preferred(header) == language


def test_a_text_fills_its_names():
    assert say_in("en", "dashboard.cores", percent="3", cores=2) == "3 % of 2 cores"

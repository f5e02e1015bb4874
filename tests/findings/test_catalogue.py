"""Every text of findings is there in both languages, and every text is used."""

from __future__ import annotations

import ast
from pathlib import Path
from string import Formatter

import slipstream.findings
from slipstream.findings.finding import SEVERITIES
from slipstream.findings.tell import catalogue

ROOM = Path(slipstream.findings.__file__).parent


def names_in(text: str) -> set[tuple[str, str | None]]:
    return {(name, form) for _, name, form, _ in Formatter().parse(text) if name}


def strings() -> set[str]:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in ROOM.glob("*.py"))
    nodes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {node.value for node in nodes if isinstance(node.value, str)}


def test_both_languages_have_the_same_texts_with_the_same_figures_in_them():
    english, spanish = catalogue("en"), catalogue("es")
    assert {key: names_in(text) for key, text in english.items()} == {key: names_in(t) for key, t in spanish.items()}
    assert all(text.strip() for text in (*english.values(), *spanish.values()))


def test_every_text_is_used():
    used = strings()
    ids = {key.partition(".")[0] for key in catalogue("en") if key.endswith(".means")}
    expected = {f"{name}.{part}" for name in ids for part in ("title", "means")}
    expected |= {f"severity.{severity}" for severity in SEVERITIES}
    assert ids <= used
    assert set(catalogue("en")) - expected <= used

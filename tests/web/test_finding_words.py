"""Every kind of finding that a check makes is told in the page's language, with its figure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import slipstream.data
from slipstream.web.language.words import texts
from slipstream.web.pages.dataset import finding_words as words

DATA = Path(slipstream.data.__file__).parent


@pytest.fixture(autouse=True)
def _spanish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "say", lambda key, **values: texts("es")[key].format(**values))


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("small", "smaller than 512×512", "menor que 512×512"),
        ("cropped", "bucket 512×768 cuts off 31%", "se corta el 31%"),
        ("dark", "very dark: 99 % is below 12%", "muy oscura: el 99 % está por debajo del 12%"),
        ("long caption", "700 tokens: what is past 512 is cut off", "700 tokens: el final se corta"),
        ("no caption", "no caption, no default", "sin descripción, ni una por defecto"),
        ("duplicate", "like 2 other pictures", "copias: 2"),
        ("blurred", "a sentence of another time", "a sentence of another time"),
    ],
)
def test_the_figure_of_a_sentence_is_kept(kind: str, text: str, told: str) -> None:
    assert words.finding_words(kind, text) == told


def test_there_are_words_for_every_kind_that_a_check_knows() -> None:
    source = (DATA / "findings.py").read_text() + (DATA / "check.py").read_text()
    kinds = set(re.findall(r'Finding\(\s*"([a-z ]+)"', source))
    assert len(kinds) > 8
    assert {f"check.found_{kind.replace(' ', '_')}" for kind in kinds} <= set(texts("en"))

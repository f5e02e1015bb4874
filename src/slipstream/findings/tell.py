"""Findings in words: the catalogue `texts/<language>.toml` filled with their figures."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from slipstream.findings.finding import Finding, Line, Value
from slipstream.reports.findings import ToldFinding

ENGLISH = "en"
_FOLDER = Path(__file__).parent / "texts"


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """All texts of a language by key, `<group>.<name>`."""
    groups = tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    return MappingProxyType(
        {f"{group}.{name}": text for group, texts in groups.items() for name, text in texts.items()}
    )


def words(language: str, key: str, values: Mapping[str, Value] | None = None) -> str:
    """One text with its values filled in.

    Raises:
        KeyError: there is no such text (a test finds every key).
    """
    return catalogue(language)[key].format(**(values or {}))


def tell(finding: Finding, language: str = ENGLISH) -> ToldFinding:
    """A finding in a language."""
    return ToldFinding(
        id=finding.id,
        severity=finding.severity,
        label=words(language, f"severity.{finding.severity}"),
        title=words(language, f"{finding.id}.title"),
        seen=_lines(language, finding.seen),
        means=words(language, f"{finding.id}.means"),
        change=_lines(language, finding.change),
        settings=tuple(f"{name}={_plain(value)}" for name, value in finding.settings.items()),
        evidence=finding.evidence,
    )


def one_line(finding: Finding) -> str:
    """The finding for a log: what was seen and the first thing to do."""
    told = tell(finding)
    return f"{told.severity}: {told.title}. {told.seen[0]} {told.change[0] if told.change else ''}".rstrip()


def _lines(language: str, lines: Iterable[Line]) -> tuple[str, ...]:
    return tuple(words(language, one.key, one.values) for one in lines)


def _plain(value: Value) -> str:
    """A value as an override writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)

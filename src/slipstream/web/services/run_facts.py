"""What a run was made of, as its manifest tells, in groups that a page can show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_GROUPS = ("model", "training_adapter", "dataset", "lora", "sample", "validation", "plan", "kernels", "versions")
_LEFT_OUT = frozenset({"prompts", "pictures", "choices"})
_LONGEST = 400


@dataclass(frozen=True)
class Fact:
    """One figure or word: where it stands in its group, and what it is."""

    name: str
    value: str


@dataclass(frozen=True)
class FactGroup:
    """The facts of one part of the manifest."""

    name: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class RunFacts:
    """What a run was made of, and the choices that were made for it, in words."""

    created: str
    device: str
    choices: tuple[str, ...]
    groups: tuple[FactGroup, ...]


def run_facts(manifest: Mapping[str, Any]) -> RunFacts:
    """The facts of a manifest; whatever it lacks is left out."""
    groups = [FactGroup(name, tuple(_facts(manifest.get(name)))) for name in _GROUPS]
    choices = manifest.get("choices")
    return RunFacts(
        created=str(manifest.get("created") or ""),
        device=str(manifest.get("device") or ""),
        choices=tuple(map(str, choices)) if isinstance(choices, list) else (),
        groups=tuple(group for group in groups if group.facts),
    )


def _facts(value: Any, before: str = "") -> list[Fact]:
    if not isinstance(value, Mapping):
        return [] if value is None else [Fact(before or "value", _short(value))]
    found: list[Fact] = []
    for key, inner in value.items():
        name = f"{before}{key}"
        if key in _LEFT_OUT or inner in (None, [], {}):
            continue
        if isinstance(inner, Mapping):
            found += _facts(inner, f"{name}.")
        elif isinstance(inner, list):
            found.append(Fact(name, _listed(inner)))
        else:
            found.append(Fact(name, _short(inner)))
    return found


def _listed(values: list[Any]) -> str:
    """A list in a line: plain ones as they are, things by their values."""
    parts = [" ".join(map(_short, one.values())) if isinstance(one, Mapping) else _short(one) for one in values]
    return _short("; ".join(parts))


def _short(value: Any) -> str:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    text = f"{value:,}" if is_count else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"

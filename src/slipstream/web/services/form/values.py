"""Plain values of a config by path: looking up, setting and leaving out, without changing what was given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Path = tuple[str | int, ...]
MISSING: Any = object()
"""What stands at a path where nothing is given."""


def parts(dotted: str) -> Path:
    """`datasets.0.path` as ("datasets", 0, "path")."""
    return tuple(int(part) if part.isdigit() else part for part in dotted.split("."))


def at(values: Any, path: Path) -> Any:
    """What stands at a path, or `MISSING`."""
    for part in path:
        there = part < len(values) if isinstance(part, int) and isinstance(values, list) else (
            isinstance(values, Mapping) and part in values
        )  # fmt: skip
        if not there:
            return MISSING
        values = values[part]
    return values


def with_value(values: Any, path: Path, value: Any) -> Any:
    """The values with one of them set; groups on the way are made, and a place behind a list's end is its next."""
    if not path:
        return value
    first, rest = path[0], path[1:]
    if isinstance(first, int):
        rows = list(values) if isinstance(values, list) else []
        place = min(first, len(rows))
        rows[place : place + 1] = [with_value(rows[place] if place < len(rows) else None, rest, value)]
        return rows
    group = dict(values) if isinstance(values, Mapping) else {}
    group[first] = with_value(group.get(first), rest, value)
    return group


def without(values: Any, path: Path) -> Any:
    """The values without what stands at a path."""
    if at(values, path) is MISSING:
        return values
    first, rest = path[0], path[1:]
    if isinstance(values, list):
        assert isinstance(first, int)
        return values[:first] + ([without(values[first], rest)] if rest else []) + values[first + 1 :]
    if not rest:
        return {name: value for name, value in values.items() if name != first}
    return {**values, first: without(values[first], rest)}


def given(values: Any, prefix: Path = ()) -> list[Path]:
    """The path of every plain value and of every empty group or list, in order."""
    if isinstance(values, Mapping) and values:
        return [path for name, value in values.items() for path in given(value, (*prefix, str(name)))]
    if isinstance(values, list) and any(isinstance(one, Mapping) for one in values):
        return [path for place, value in enumerate(values) for path in given(value, (*prefix, place))]
    return [prefix]

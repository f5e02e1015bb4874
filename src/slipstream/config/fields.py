"""The settings of a config by dotted path, found by walking the panels: for error messages and docs."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Panel = type[BaseModel]
LABELS = ("Formula", "Unit", "Change it when", "Careful")
"""Labels of a docstring's paragraphs after the first, which is the help."""


def panels_in(annotation: Any) -> tuple[Panel, ...]:
    """The panels an annotation can hold: of `EmaPanel | None` one, of MODEL three, of a number none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(panel for part in get_args(annotation) for panel in panels_in(part))


def fields_of(panels: tuple[Panel, ...]) -> dict[str, FieldInfo]:
    """The fields of these panels, of the first that has one of that name."""
    return {name: field for panel in reversed(panels) for name, field in panel.model_fields.items()}


def panels_at(root: Panel, path: tuple[str | int, ...]) -> tuple[Panel, ...]:
    """The panels that may stand at a path (numbers are places in a list); none where a plain value stands."""
    panels: tuple[Panel, ...] = (root,)
    for part in path:
        if isinstance(part, int):
            continue
        field = fields_of(panels).get(part)
        panels = panels_in(field.annotation) if field is not None else ()
    return panels


def settings_of(root: Panel) -> dict[str, FieldInfo]:
    """Every setting by dotted path, groups left out; a list counts as its first entry (`datasets.0.path`)."""
    return dict(_settings((root,), ""))


def optional_groups_of(root: Panel) -> dict[str, FieldInfo]:
    """Every group of settings that may be left out, by dotted path."""
    return dict(_optional_groups((root,), ""))


def _optional_groups(panels: tuple[Panel, ...], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in fields_of(panels).items():
        inner = panels_in(field.annotation)
        place = "0." if str(field.annotation).startswith("tuple[") else ""
        if inner and types.NoneType in get_args(field.annotation):
            yield prefix + name, field
        if inner:
            yield from _optional_groups(inner, f"{prefix}{name}.{place}")


def _settings(panels: tuple[Panel, ...], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in fields_of(panels).items():
        inner = panels_in(field.annotation)
        if not inner:
            yield prefix + name, field
            continue
        place = "0." if str(field.annotation).startswith("tuple[") else ""
        yield from _settings(inner, f"{prefix}{name}.{place}")


def split_help(docstring: str) -> tuple[str, dict[str, str]]:
    """(help, further paragraphs by label) of a field's docstring."""
    parts: dict[str, list[str]] = {"": []}
    label = ""
    for line in docstring.splitlines():
        start, colon, rest = line.strip().partition(":")
        if colon and start in LABELS:
            label, line = start, rest
        parts.setdefault(label, []).append(line.strip())
    joined = {label: " ".join(" ".join(lines).split()) for label, lines in parts.items()}
    return joined.pop(""), joined

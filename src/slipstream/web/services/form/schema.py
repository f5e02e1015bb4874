"""The nine panels as a form: every setting of the schema once, with what it takes and what is known about it.

Nothing is listed by hand: a new setting of a panel is in the form as soon as the panel has it.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from slipstream.config.fields import Panel, panels_in, split_help
from slipstream.config.reference import accepts
from slipstream.config.run_config import RunConfig

Kind = Literal["switch", "choice", "whole", "number", "text", "path", "free", "list", "table"]
"""How a setting is entered; `free` is a word or a number (`auto`, 50), `table` names with values."""


@dataclass(frozen=True)
class Setting:
    """One setting. `path` is dotted, with 0 for the place in a list (`datasets.0.path`)."""

    path: str
    kind: Kind
    help: str
    details: Mapping[str, str]
    accepts: str
    default: Any
    """As plain values; None where it is left out or must be given."""
    required: bool
    may_be_off: bool
    """Whether `null` is one of its values."""
    choices: tuple[Any, ...] = ()
    """What it, or each entry of its list, can be; empty where that is open."""
    numeric: bool = False
    """Whether the entries of its list are numbers."""

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Group:
    """Settings that belong together. Where it is one of several panels, `tag` names the setting that chooses."""

    path: str
    help: str
    details: Mapping[str, str]
    may_be_off: bool
    tag: str | None
    forms: Mapping[str, tuple[Node, ...]]
    """What stands in it by the tag's value; a single entry "" where there is no tag."""

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition(".")[2]

    def nodes(self, tag: object = None) -> tuple[Node, ...]:
        """What stands in it for a value of its tag; the first form where it has no such value."""
        first = next(iter(self.forms.values()))
        return self.forms.get(tag, first) if isinstance(tag, str) else first


@dataclass(frozen=True)
class Rows:
    """A list of groups: datasets, prompts. `short` is the setting that may stand alone for a row."""

    path: str
    help: str
    details: Mapping[str, str]
    least: int
    nodes: tuple[Node, ...]
    short: str | None = None

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition(".")[2]


Node = Setting | Group | Rows

_SHORT = {"sample.prompts": "prompt"}
"""Rows that may be written as the plain value of one of their settings."""


@cache
def form() -> tuple[Group | Rows, ...]:
    """The nine panels in the guide's order."""
    nodes = (_node(name, field) for name, field in RunConfig.model_fields.items())
    return tuple(node for node in nodes if not isinstance(node, Setting))


def settings_in(node: Node) -> Iterator[Setting]:
    """Every setting below a node, each once, whatever the tags are."""
    seen: set[str] = set()
    for setting in _settings(node):
        if setting.path not in seen:
            seen.add(setting.path)
            yield setting


def _settings(node: Node) -> Iterator[Setting]:
    if isinstance(node, Setting):
        yield node
        return
    inner = node.nodes if isinstance(node, Rows) else [one for nodes in node.forms.values() for one in nodes]
    for one in inner:
        yield from _settings(one)


def _node(path: str, field: FieldInfo) -> Node:
    panels = panels_in(field.annotation)
    if not panels:
        return _setting(path, field)
    text, details = split_help(field.description or "")
    if _is_list(field.annotation):
        least = next((one.min_length for one in field.metadata if isinstance(one, annotated_types.MinLen)), 0)
        return Rows(path, text, details, least, _nodes(f"{path}.0", panels[0]), _SHORT.get(path))
    tag = _tag(panels)
    forms = {_only_choice(panel, tag) if tag else "": _nodes(path, panel) for panel in panels}
    return Group(path, text, details, types.NoneType in get_args(field.annotation), tag, forms)


def _nodes(path: str, panel: Panel) -> tuple[Node, ...]:
    return tuple(_node(f"{path}.{name}", field) for name, field in panel.model_fields.items())


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple


def _tag(panels: tuple[Panel, ...]) -> str | None:
    """The setting by whose one value each panel is known from the others."""
    if len(panels) == 1:
        return None
    shared = [name for name in panels[0].model_fields if all(name in panel.model_fields for panel in panels)]
    return next(name for name in shared if len({_only_choice(panel, name) for panel in panels} - {""}) == len(panels))


def _only_choice(panel: Panel, name: str) -> str:
    choices = get_args(panel.model_fields[name].annotation)
    fixed = get_origin(panel.model_fields[name].annotation) is Literal and len(choices) == 1
    return str(choices[0]) if fixed else ""


def _setting(path: str, field: FieldInfo) -> Setting:
    text, details = split_help(field.description or "")
    parts = _parts(field.annotation)
    kind, choices, numeric = _kind(parts)
    required = field.default is PydanticUndefined and field.default_factory is None
    default = None if required else to_jsonable_python(field.get_default(call_default_factory=True))
    return Setting(
        path, kind, text, details, accepts(field), default, required, types.NoneType in _leaves(field.annotation),
        choices, numeric,
    )  # fmt: skip


def _leaves(annotation: Any) -> list[Any]:
    """The plain types of a union, without what is annotated around them; a list or Literal counts as one."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return [leaf for part in inside for leaf in _leaves(part)]
    if hasattr(annotation, "__metadata__"):
        return _leaves(inside[0])
    return [annotation]


def _parts(annotation: Any) -> list[Any]:
    return [part for part in _leaves(annotation) if part is not types.NoneType]


def _kind(parts: list[Any]) -> tuple[Kind, tuple[Any, ...], bool]:
    """(kind, choices, whether a list is of numbers)."""
    first = parts[0]
    if get_origin(first) is Literal:
        return "choice", get_args(first), False
    if get_origin(first) is tuple:
        items = _parts(get_args(first)[0])
        choices = get_args(items[0]) if get_origin(items[0]) is Literal else ()
        return "list", choices, set(items) <= {int, float}
    if get_origin(first) is dict:
        return "table", (), False
    if set(parts) == {int, float}:
        return "number", (), False
    if len(parts) > 1:
        return "free", (), False
    kinds: dict[Any, Kind] = {bool: "switch", int: "whole", float: "number", str: "text", Path: "path"}
    return kinds[first], (), False

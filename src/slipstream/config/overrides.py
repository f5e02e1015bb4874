"""Dotted overrides: `training.steps=500`, `datasets.0.path=pictures`. Values are YAML."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from slipstream.config.prompts import prompt_settings
from slipstream.config.yaml_text import read_yaml
from slipstream.core.errors import ConfigError


def split_override(override: str) -> tuple[str, Any]:
    """The dotted path and the value.

    Raises:
        ConfigError: it has no `=` or no path, or the value is not YAML.
    """
    path, equals, text = override.partition("=")
    if not equals or not all(path.split(".")) or path != path.strip():
        raise ConfigError(
            f"got {override!r}, expected panel.setting=value",
            where="override",
            fix="write it like training.steps=500.",
        )
    return path, read_yaml(text, f"override {path}")


def apply_overrides(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of a config's mapping with the overrides set, in order; whether a key exists is checked with the
    rest.

    Raises:
        ConfigError: an override is malformed, or leads through a plain value or past a list's end.
    """
    result = copy.deepcopy(dict(data))
    for override in overrides:
        path, value = split_override(override)
        set_path(result, path, value)
    return result


def set_path(data: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path, making groups and list entries on the way.

    Raises:
        ConfigError: the path leads through a plain value or past a list's end.
    """
    parts = path.split(".")
    node: Any = data
    for depth, part in enumerate(parts):
        here = ".".join(parts[:depth])
        if not isinstance(node, list | dict):
            raise ConfigError(
                f"{here} holds the value {node!r}, so it has no {part!r}", where=f"override {path}",
                fix=f"set {here} itself: {here}=VALUE.",
            )  # fmt: skip
        key: Any = _place(node, part, here) if isinstance(node, list) else part
        if depth == len(parts) - 1:
            node[key] = value
            return
        held = node.get(key) if isinstance(node, dict) else node[key]
        if held is None:
            held = _empty_for(parts[depth + 1])
        elif isinstance(held, str) and here == "sample.prompts":
            held = _group_of(held, path)
        node[key] = held
        node = held


def _group_of(prompt: str, path: str) -> dict[str, Any]:
    """A preview prompt given as text, written out as the group that an override leads into."""
    try:
        return dict(prompt_settings(prompt))
    except ValueError as error:
        raise ConfigError(str(error), where=f"override {path}", fix="set the whole prompt.") from error


def _empty_for(part: str) -> Any:
    """What a missing group begins as: a list where the next part of the path is a number."""
    return [] if part.isdigit() else {}


def _place(items: list[Any], part: str, here: str) -> int:
    """The place in a list; the one after its end is made."""
    if not part.isdigit() or int(part) > len(items):
        raise ConfigError(
            f"got {part!r} after {here}, expected a number from 0 to {len(items)}",
            where=f"override {here}.{part}",
            fix=f"{here} is a list of {len(items)}: count from 0, and {len(items)} adds one.",
        )
    if int(part) == len(items):
        items.append(None)
    return int(part)

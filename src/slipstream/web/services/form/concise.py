"""A config without what says nothing: settings at their defaults, and groups that are off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slipstream.web.services.form.schema import Group, Node, Rows, Setting, form
from slipstream.web.services.form.values import MISSING


def is_changed(setting: Setting, value: Any) -> bool:
    """Whether a value that is given differs from the default; what must be given has none."""
    return value is not MISSING and not setting.required and value != setting.default


def concise(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that differ from the defaults, with everything that nothing is known about."""
    return _inside(form(), values)


def _inside(nodes: Sequence[Node], values: Mapping[str, Any]) -> dict[str, Any]:
    known = {node.name: node for node in nodes}
    found = {name: _kept(known[name], value) if name in known else value for name, value in values.items()}
    return {name: value for name, value in found.items() if value is not MISSING}


def _kept(node: Node, value: Any) -> Any:
    """What is left of a value, or `MISSING`."""
    if isinstance(node, Setting):
        return value if node.required or is_changed(node, value) else MISSING
    if isinstance(node, Rows):
        if not isinstance(value, list):
            return value
        rows = [_inside(node.nodes, row) if isinstance(row, Mapping) else row for row in value]
        return rows if rows or node.least else MISSING
    return _kept_group(node, value)


def _kept_group(group: Group, value: Any) -> Any:
    if value is None and group.may_be_off:
        return MISSING
    if not isinstance(value, Mapping):
        return value
    tag = value.get(group.tag) if group.tag else None
    inside = _inside([node for node in group.nodes(tag) if node.name != group.tag], value)
    return inside if inside or group.may_be_off else MISSING

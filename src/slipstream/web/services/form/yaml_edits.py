"""Changing one value of a YAML text where it stands, so that comments and the order of lines stay.

An edit looks up where the value stands, changes those characters and no others, and is believed only where the text
then reads as it should; else `EditRefusedError` leaves it to the caller to write the text anew.
"""

from __future__ import annotations

from typing import Any

import yaml

from slipstream.config.yaml_text import read_yaml, write_yaml
from slipstream.core.errors import ConfigError
from slipstream.web.services.form.values import Path, with_value, without

_INDENT = 2
_Node = yaml.Node


class EditRefusedError(ValueError):
    """The text cannot be changed in place."""


def set_in_text(text: str, path: Path, value: Any) -> str:
    """The text with a value set; groups on the way are made.

    Raises:
        EditRefusedError: not in place.
    """
    return _checked(text, _set(text, path, value), lambda values: with_value(values, path, value))


def remove_in_text(text: str, path: Path) -> str:
    """The text without what stands at a path.

    Raises:
        EditRefusedError: not in place.
    """
    return _checked(text, _removed(text, path), lambda values: without(values, path))


def comment_removed(text: str, path: Path) -> str:
    """The text without the comment behind the value at a path, which spoke of another value."""
    try:
        root = _compose(text)
        end = _end(text, _found(root, path)) if root is not None else len(text)
    except EditRefusedError:
        return text
    line = text[end : _line_end(text, end)]
    return text[:end] + line[len(line.rstrip("\n")) :] + text[end + len(line) :] if line.lstrip()[:1] == "#" else text


def _checked(before: str, after: str, expected: Any) -> str:
    try:
        wanted, found = expected(read_yaml(before, "before")), read_yaml(after, "after")
    except ConfigError as error:
        raise EditRefusedError(str(error)) from error
    if (found or {}) != (wanted or {}):
        raise EditRefusedError("the text would say something else")
    return after


def _set(text: str, path: Path, value: Any) -> str:
    root = _compose(text)
    if root is None:
        return text + ("\n" if text and not text.endswith("\n") else "") + _block(_nested(path, value), 0)
    node, depth = _nearest(root, path)
    if depth == len(path):
        return _replaced(text, root, path, value)
    if _is_flow(node) or not node.value:
        return _replaced(text, root, path[:depth], with_value(_value(node), path[depth:], value))
    rest = path[depth:]
    if isinstance(node, yaml.MappingNode) and isinstance(rest[0], str):
        column = node.value[0][0].start_mark.column
        return _line_added(text, node, ("\n" if not depth else "") + _block(_nested(rest, value), column))
    if isinstance(node, yaml.SequenceNode) and isinstance(rest[0], int):
        column = _dash(text, node.value[0])
        return _line_added(text, node, _block([_nested(rest[1:], value)], column))
    raise EditRefusedError("something else stands there")


def _replaced(text: str, root: _Node, path: Path, value: Any) -> str:
    """The value at a path that is there, replaced; a value in brackets is written anew from its outermost bracket."""
    for depth in range(len(path)):
        node = _found(root, path[:depth])
        if _is_flow(node):
            value = with_value(_value(node), path[depth:], value)
            path = path[:depth]
            break
    node = _found(root, path)
    if _on_one_line(value) or _is_flow(node):
        new = _flow(value)
        start, end = node.start_mark.index, _end(text, node)
        gap = "" if start and text[start - 1] in " \n" else " "
        return text[:start].rstrip("\n ") + " " + new + text[end:] if _starts_below(text, node) else (
            text[:start] + gap + new + text[end:]
        )  # fmt: skip
    if not path:
        return _block(value, 0)
    if isinstance(path[-1], int):
        line = _line_start(text, node.start_mark.index)
        return text[:line] + _block([value], _dash(text, node)) + text[_line_end(text, _end(text, node)) :]
    key = _key(_found(root, path[:-1]), path[-1])
    block = _block({path[-1]: value}, key.start_mark.column)[key.start_mark.column :]
    return text[: key.start_mark.index] + block + text[_line_end(text, _end(text, node)) :]


def _removed(text: str, path: Path) -> str:
    root = _compose(text)
    if root is None:
        raise EditRefusedError("the text is empty")
    parent, node = _found(root, path[:-1]), _found(root, path)
    if _is_flow(parent):
        return _replaced(text, root, path[:-1], without(_value(parent), path[-1:]))
    if len(parent.value) == 1:
        return text[: parent.start_mark.index] + _empty(parent) + text[_end(text, parent) :]
    if isinstance(path[-1], int):
        return text[: _line_start(text, node.start_mark.index)] + text[_line_end(text, _end(text, node)) :]
    key = _key(parent, path[-1])
    keys = [one for one, _ in parent.value]
    place = keys.index(key)
    if place == 0:  # also the one behind a dash, whose line stays
        return text[: key.start_mark.index] + text[keys[1].start_mark.index :]
    return text[: _line_start(text, key.start_mark.index)] + text[_line_end(text, _end(text, node)) :]


def _compose(text: str) -> _Node | None:
    try:
        return yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise EditRefusedError(str(error)) from error


def _nearest(node: _Node, path: Path) -> tuple[_Node, int]:
    """The deepest node on the way to a path, and how many parts of the path lead there."""
    for depth, part in enumerate(path):
        inner = _child(node, part)
        if inner is None:
            return node, depth
        node = inner
    return node, len(path)


def _child(node: _Node, part: str | int) -> _Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        found: _Node = node.value[part]
        return found
    return None


def _found(root: _Node, path: Path) -> _Node:
    node, depth = _nearest(root, path)
    if depth < len(path):
        raise EditRefusedError("nothing stands there")
    return node


def _key(parent: _Node, name: str | int) -> _Node:
    return next(key for key, _ in parent.value if key.value == name)


def _value(node: _Node) -> Any:
    return read_yaml(yaml.serialize(node, Dumper=yaml.SafeDumper), "value")


def _is_flow(node: _Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and bool(node.flow_style)


def _starts_below(text: str, node: _Node) -> bool:
    """Whether a block's value begins on a line below its key, where a plain value has to move up."""
    return isinstance(node, yaml.MappingNode | yaml.SequenceNode) and not _is_flow(node) and (
        text[_line_start(text, node.start_mark.index) : node.start_mark.index].strip() == ""
    )  # fmt: skip


def _end(text: str, node: _Node) -> int:
    """Where the last character of a value stands, without comments and empty lines behind it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    end: int = node.end_mark.index
    return len(text[:end].rstrip()) if end > node.start_mark.index else end


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    """The start of the next line."""
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1


def _dash(text: str, item: _Node) -> int:
    """The column of the dash in front of a list's entry."""
    line = text[_line_start(text, item.start_mark.index) :]
    return len(line) - len(line.lstrip(" "))


def _line_added(text: str, node: _Node, block: str) -> str:
    """The block below the last line of a group or list."""
    end = _line_end(text, _end(text, node))
    before = text[:end]
    return before + ("" if before.endswith("\n") else "\n") + block + text[end:]


def _nested(path: Path, value: Any) -> Any:
    return with_value(None, path, value)


def _empty(node: _Node) -> str:
    return "{}" if isinstance(node, yaml.MappingNode) else "[]"


def _on_one_line(value: Any) -> bool:
    """Whether a value goes behind its key: plain, empty, or a list of numbers and single words."""
    if isinstance(value, list):
        return all(not isinstance(one, dict | list) for one in value) and sum(len(str(one)) for one in value) < 70
    return not isinstance(value, dict) or not value


def _flow(value: Any) -> str:
    text = write_yaml(value, flow=True).strip()
    return text.removesuffix("\n...").strip()


def _block(value: Any, column: int) -> str:
    """YAML lines at a column, each with its end; lists of plain values on one line."""
    return "".join(" " * column + line + "\n" for line in _lines(value))


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict):
        found = []
        for name, inner in value.items():
            if _on_one_line(inner):
                found.append(f"{_flow(name)}: {_flow(inner)}")
            else:
                found += [f"{_flow(name)}:", *(" " * _INDENT + line for line in _lines(inner))]
        return found
    if isinstance(value, list):
        items = ([_flow(one)] if _on_one_line(one) else _lines(one) for one in value)
        return [("- " if first else "  ") + line for lines in items for first, line in _marked(lines)]
    return [_flow(value)]


def _marked(lines: list[str]) -> list[tuple[bool, str]]:
    return [(place == 0, line) for place, line in enumerate(lines)]


def whole_text(values: dict[str, Any]) -> str:
    """Values as YAML, a panel after the other with an empty line between."""
    return "\n".join(_block({name: value}, 0) for name, value in values.items())

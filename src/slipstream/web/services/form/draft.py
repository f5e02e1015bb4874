"""A config that is being written: its YAML text, and the values in it as far as they can be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from slipstream.core.errors import ConfigError
from slipstream.web.services.configs import read_values
from slipstream.web.services.form.schema import Rows, form
from slipstream.web.services.form.values import MISSING, Path, at, parts, with_value, without
from slipstream.web.services.form.yaml_edits import (
    EditRefusedError,
    comment_removed,
    remove_in_text,
    set_in_text,
    whole_text,
)


@dataclass(frozen=True)
class Draft:
    """The text is what counts; `values` are what it says, `unreadable` why it says nothing.

    `comments_lost`: the last change had to write the text anew.
    """

    text: str
    values: Mapping[str, Any]
    unreadable: ConfigError | None = None
    comments_lost: bool = False

    def given(self, path: str) -> Any:
        """What is given at a dotted path, or `MISSING`; a row's short form counts as its setting."""
        return at(long_rows(self.values), parts(path))


def read_draft(text: str) -> Draft:
    """A draft of a text, readable or not."""
    try:
        values = read_values(text)
    except ConfigError as error:
        return Draft(text, {}, error)
    if values is None:
        return Draft(text, {})
    if not isinstance(values, Mapping):
        no_config = ConfigError(
            "this is no config: expected panels (job, model, ...) with settings under them", where="config",
            fix="start from a preset.",
        )  # fmt: skip
        return Draft(text, {}, no_config)
    return Draft(text, values)


def draft_of(values: Mapping[str, Any]) -> Draft:
    """A draft of values."""
    return Draft(whole_text(dict(values)), values)


def changed(draft: Draft, path: str, value: Any) -> Draft:
    """The draft with one value set.

    Raises:
        ConfigError: its text cannot be read, so nothing can be set in it.
    """
    _require_readable(draft)
    where, value = _as_written(draft.values, parts(path), value)
    values = with_value(draft.values, where, value)
    return _edited(draft, values, lambda: set_in_text(draft.text, where, value))


def left_out(draft: Draft, path: str) -> Draft:
    """The draft without a value; a panel or group in which nothing is left goes with its last one.

    Raises:
        ConfigError: its text cannot be read.
    """
    _require_readable(draft)
    where = parts(path)
    if at(draft.values, where) is MISSING:
        if at(long_rows(draft.values), where) is MISSING:
            return draft
        return changed(draft, path, "")
    while len(where) > 1 and isinstance(where[-2], str) and len(at(draft.values, where[:-1])) == 1:
        if isinstance(where[-1], int) or _is_switched_on(where[:-1]):
            break
        where = where[:-1]
    values = without(draft.values, where)
    short = draft_row_short(values, where)
    if short is not None:
        row, value = short
        return changed(draft, ".".join(map(str, row)), value)
    return _edited(draft, values, lambda: remove_in_text(draft.text, where))


def told_anew(draft: Draft, path: str, value: Any) -> Draft:
    """`changed`, without the comment behind the value, which spoke of the old one.

    Raises:
        ConfigError: its text cannot be read.
    """
    draft = changed(draft, path, value)
    return replace(draft, text=comment_removed(draft.text, parts(path)))


def moved(draft: Draft, path: str, place: int, to: int) -> Draft:
    """The draft with a row of a list at another place."""
    _require_readable(draft)
    rows = list(at(draft.values, parts(path)))
    rows.insert(to, rows.pop(place))
    return changed(draft, path, rows)


def _edited(draft: Draft, values: Mapping[str, Any], edit: Any) -> Draft:
    try:
        return Draft(edit(), values)
    except EditRefusedError:
        again = draft_of(values)
        return replace(again, comments_lost="#" in draft.text)


def _require_readable(draft: Draft) -> None:
    if draft.unreadable is not None:
        raise ConfigError(
            "the YAML cannot be read, so the form cannot change it", where=draft.unreadable.where,
            fix=draft.unreadable.message,
        )  # fmt: skip


def _is_switched_on(path: Path) -> bool:
    """Whether a group is on by being there (`training.ema: {}`), so that it must not go with its last setting."""
    from slipstream.config.reference import groups

    return ".".join("0" if isinstance(part, int) else part for part in path) in groups()


@cache
def _short_rows() -> dict[str, str]:
    """Lists whose rows may be a plain value -> the setting that it is."""
    return {rows.path: rows.short for group in form() for rows in _rows(group) if rows.short}


def _rows(node: Any) -> list[Rows]:
    if isinstance(node, Rows):
        return [node]
    inner = [one for nodes in getattr(node, "forms", {}).values() for one in nodes]
    return [rows for one in inner for rows in _rows(one)]


def long_rows(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values with every row as a group: `a fox` is `{prompt: a fox}`."""
    for path, short in _short_rows().items():
        rows = at(values, parts(path))
        if isinstance(rows, list) and any(not isinstance(row, Mapping) for row in rows):
            long = [row if isinstance(row, Mapping) else {short: row} for row in rows]
            values = with_value(values, parts(path), long)
    return values


def _as_written(values: Mapping[str, Any], path: Path, value: Any) -> tuple[Path, Any]:
    """Where and what to write: a row of which its short setting alone is given stays short."""
    for rows_path, short in _short_rows().items():
        rows = parts(rows_path)
        if path[: len(rows)] != rows or len(path) != len(rows) + 2:
            continue
        row_path = path[: len(rows) + 1]
        row = at(values, row_path)
        if isinstance(row, Mapping):
            return path, value
        long = {} if row is MISSING else {short: row}
        long[str(path[-1])] = value
        return row_path, long[short] if set(long) == {short} else long
    return path, value


def draft_row_short(values: Mapping[str, Any], removed: Path) -> tuple[Path, Any] | None:
    """(row, plain value) where a row has only its short setting left after something was removed from it."""
    for rows_path, short in _short_rows().items():
        rows = parts(rows_path)
        if removed[: len(rows)] == rows and len(removed) == len(rows) + 2:
            row_path = removed[: len(rows) + 1]
            row = at(values, row_path)
            if isinstance(row, Mapping) and set(row) == {short}:
                return row_path, row[short]
    return None

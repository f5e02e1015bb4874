"""Tables of rules, one per foreign key, and the walk that applies them so that no key is forgotten.

A table maps a key's name to a `Rule` (what to do with its value), a `Group` (a table for the keys below it) or
`Items` (a table for each entry of a list). A key without a rule is reported as unknown.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from slipstream.config.imports.report import Entry, Report, leaves
from slipstream.config.overrides import set_path
from slipstream.core.errors import ConfigError

Table = Mapping[str, "Rule | Group | Items"]


@dataclass
class Draft:
    """The config under construction: plain values by dotted path, and the report on where they came from."""

    report: Report
    settings: dict[str, Any] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    """Our dotted path -> the foreign key it came from."""

    def set(self, target: str, value: Any, key: str) -> None:
        """Write one of our settings."""
        set_path(self.settings, target, value)
        self.written[target] = key

    def add(self, key: str, target: str, value: Any, why: str, *, matters: bool = False) -> None:
        """Write down a value that the file leaves to its trainer's default, unless something is there already."""
        if target in self.written:
            return
        self.set(target, value, key)
        panel = target.partition(".")[0]
        self.report.entries.append(Entry(key, None, "added", panel, target, value, why, matters))

    def remark(self, key: str, panel: str, why: str) -> None:
        """Say what is not written although the file's trainer has a default for it."""
        self.report.entries.append(Entry(key, None, "added", panel, why=why, matters=True))


@dataclass(frozen=True)
class Spot:
    """A key while its rule acts on it.

    Attributes:
        name: the key; path: where it stands; value: what stands there; group: the mapping it stands in.
        root: the whole training (one process of a job file, all flags of a command).
        place: its number where it stands in a list (a dataset, a prompt), which replaces the `0` of a target.
        panel: our panel for entries without a target.
    """

    draft: Draft
    name: str
    path: str
    value: Any
    group: Mapping[str, Any]
    root: Mapping[str, Any]
    panel: str
    place: int | None = None

    def put(self, target: str, value: Any, why: str = "", *, matters: bool = False) -> None:
        """Write the value to one of our settings and report it: taken if it is unchanged, else translated."""
        target = placed(target, self.place)
        self.draft.set(target, value, self.path)
        same = value == self.value and isinstance(value, bool) == isinstance(self.value, bool)
        outcome, panel = "taken" if same else "translated", target.partition(".")[0]
        self.draft.report.entries.append(
            Entry(self.path, self.value, outcome, panel, target, value, why, matters)  # type: ignore[arg-type]
        )

    def also(self, target: str, value: Any) -> None:
        """Write a further setting that the same key decides."""
        self.draft.set(placed(target, self.place), value, self.path)

    def merged(self, target: str, result: Any, why: str) -> None:
        """Report that the key had its part in a setting that another key writes."""
        target = placed(target, self.place)
        panel = target.partition(".")[0]
        self.draft.report.entries.append(Entry(self.path, self.value, "translated", panel, target, result, why))

    def ignore(self, why: str, *, matters: bool = False) -> None:
        """Report every value below the key as ignored."""
        for path, value in leaves(self.value, self.path):
            self.draft.report.entries.append(Entry(path, value, "ignored", self.panel, why=why, matters=matters))

    def unknown(self, known: Mapping[str, Any]) -> None:
        """Report every value below the key as unknown, with the nearest known spelling."""
        close = difflib.get_close_matches(self.name, list(known), n=1, cutoff=0.75)
        why = f"not a key that is known here; did you mean {close[0]}?" if close else "not a key that is known here"
        for path, value in leaves(self.value, self.path):
            self.draft.report.entries.append(Entry(path, value, "unknown", self.panel, why=why))


@dataclass(frozen=True)
class Rule:
    """What to do with one key.

    Attributes:
        act: writes, or ignores.
        targets: our settings that it may write, by dotted path (`datasets.0.path`).
        why: for a key that is always ignored, the reason.
    """

    act: Callable[[Spot], None]
    targets: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Group:
    """A table for the keys below a key; `rest` is the rule for those that the table does not hold."""

    table: Table
    panel: str | None = None
    rest: Rule | None = None


@dataclass(frozen=True)
class Items:
    """A table for the keys of each entry of a list."""

    table: Table
    panel: str | None = None


def take(target: str, read: Callable[[Any], Any] | None = None, why: str = "") -> Rule:
    """The value goes into `target`, read by `read` if it may be written in several ways; null is left out."""

    def act(spot: Spot) -> None:
        if spot.value is None:
            return spot.ignore("empty: the default stays")
        value = spot.value if read is None else read(spot.value)
        spot.put(target, value, why if value != spot.value else "")

    return Rule(act, (target,))


def decide(*targets: str) -> Callable[[Callable[[Spot], None]], Rule]:
    """A function as a rule; `targets` are the settings it may write."""
    return lambda act: Rule(act, targets)


def skip(why: str) -> Rule:
    """Without effect here, whatever its value."""
    return Rule(lambda spot: spot.ignore(why), why=why)


def lacking(why: str, *off: Any) -> Rule:
    """A feature that does not exist here: harmless where it is off (null, false, 0, empty, or one of `off`)."""

    def act(spot: Spot) -> None:
        if not spot.value:
            return spot.ignore("off in the file too")
        if any(spot.value == value for value in off):
            return spot.ignore("as it always is here")
        spot.ignore(why, matters=True)

    return Rule(act, why=why)


def walk(
    values: Mapping[str, Any], table: Table, draft: Draft, *, path: str = "", panel: str = "job",
    root: Mapping[str, Any] | None = None, place: int | None = None, rest: Rule | None = None,
) -> None:  # fmt: skip
    """Apply a table to every key of a mapping, in the file's order; `rest` to those that it does not hold.

    Raises:
        ConfigError: a value that its rule cannot make sense of, such as a group where a number belongs.
    """
    whole = values if root is None else root
    for name, value in values.items():
        here = f"{path}.{name}" if path else str(name)
        rule = table.get(str(name), rest)
        spot = Spot(draft, str(name), here, value, values, whole, panel, place)
        if rule is None:
            spot.unknown(table)
        elif isinstance(rule, Rule):
            _act(rule, spot)
        elif isinstance(rule, Group) and isinstance(value, Mapping) and value:
            walk(
                value, rule.table, draft, path=here, panel=rule.panel or panel, root=whole, place=place, rest=rule.rest
            )
        elif isinstance(rule, Items) and isinstance(value, list) and value:
            _walk_items(value, rule, spot)
        else:
            spot.ignore("empty: the defaults stay", matters=bool(value))


def _act(rule: Rule, spot: Spot) -> None:
    """Let a rule act. Rules read numbers, lists and text; what is none of these ends up in one of these errors."""
    try:
        rule.act(spot)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{spot.path}: got {spot.value!r}, which cannot be read", where=spot.draft.report.source,
            fix="correct it, or what stands beside it, or take the line out.",
        ) from error  # fmt: skip


def _walk_items(values: list[Any], rule: Items, spot: Spot) -> None:
    for number, item in enumerate(values):
        where, panel = f"{spot.path}[{number}]", rule.panel or spot.panel
        if isinstance(item, Mapping):
            walk(item, rule.table, spot.draft, path=where, panel=panel, root=spot.root, place=number)
        else:
            Spot(spot.draft, spot.name, where, item, spot.group, spot.root, panel, number).ignore(
                "expected a group of settings here", matters=True
            )


def placed(target: str, place: int | None) -> str:
    """`datasets.0.path` of the entry number `place`."""
    return target if place is None else re.sub(r"\.0\.", f".{place}.", target, count=1)


def rules_of(table: Table) -> Iterator[tuple[str, Rule]]:
    """Every rule of a table and of the tables below it, with its key."""
    for name, rule in table.items():
        if isinstance(rule, Rule):
            yield name, rule
        else:
            yield from rules_of(rule.table)
            if isinstance(rule, Group) and rule.rest is not None:
                yield name, rule.rest

"""Commands of trainers that take flags: a pasted command or a shell script as a mapping, and what two of them share."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slipstream.config.imports.reading import count, number
from slipstream.config.imports.report import Report
from slipstream.config.imports.rules import Rule, Spot, decide
from slipstream.config.variants import VARIANTS, variant_hinted, variant_named
from slipstream.core.errors import ConfigError

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
_CONTINUED = re.compile(r"[\\^`][ \t]*\r?\n")
_COMMENT = re.compile(r"^\s*(#|REM\b|::).*$", re.MULTILINE | re.IGNORECASE)
_FLAG = re.compile(r"--?[A-Za-z]\w*")

SCHEDULES = {
    "constant": "constant", "constant_with_warmup": "constant", "linear": "linear", "cosine": "cosine", "rex": "rex",
    "cosine_with_restarts": "cosine_restarts", "polynomial": "polynomial", "cosine_with_min_lr": "cosine",
}  # fmt: skip
"""Schedules by the names that transformers and diffusers give them; there `linear` falls, as ours does."""
_CYCLES = ("lr_num_cycles", "lr_scheduler_num_cycles")


def read_command(content: str, script: str, where: str) -> dict[str, Any]:
    """The flags of the one command in a text that runs a script whose name holds `script`.

    A flag without a value is true, one with several values a list. A text that begins with a flag is the command.

    Raises:
        ConfigError: there is no such command, or its quotes do not close.
    """
    text = _COMMENT.sub("", _CONTINUED.sub(" ", content))
    lines = [line for line in text.splitlines() if line.strip()]
    commands = [line for line in lines if script in line]
    if not commands and "".join(lines).lstrip().startswith("--"):
        commands = [" ".join(lines)]
    if len(commands) != 1:
        raise ConfigError(
            f"found {len(commands)} commands that run {script}, expected one", where=where,
            fix="keep the one command in the file, or its flags alone.",
        )  # fmt: skip
    try:
        words = shlex.split(commands[0])
    except ValueError as error:
        raise ConfigError(f"the command cannot be read: {error}", where=where, fix="close every quote.") from error
    start = next((place + 1 for place, word in enumerate(words) if script in word), 0)
    return _flags(words[start:])


def _flags(words: Sequence[str]) -> dict[str, Any]:
    values: dict[str, list[str]] = {}
    name = ""
    for word in words:
        flag, equals, value = word.partition("=")
        if _FLAG.fullmatch(flag):
            name = flag.lstrip("-")
            values[name] = [value] if equals else []
        elif name:
            values[name].append(word)
    return {name: _value(found) for name, found in values.items()}


def _value(found: list[str]) -> Any:
    if not found:
        return True
    read = [{"true": True, "false": False}.get(value.lower(), number(value)) for value in found]
    return read[0] if len(read) == 1 else read


def with_dashes(report: Report, flags: Mapping[str, Any]) -> Report:
    """The report with flags written as they stand in the command."""
    entries = [
        replace(entry, key=f"--{entry.key}") if re.split(r"[.\[]", entry.key)[0] in flags else entry
        for entry in report.entries
    ]
    return replace(report, entries=entries)


def found_here(name: str, source: str) -> str:
    """A path of the command: from the current directory, else from the folder of the file, else as it is."""
    for start in (Path.cwd(), Path(source).resolve().parent):
        if (path := start / Path(name).expanduser()).exists():
            return str(path.resolve())
    return name


def num_pictures(folder: str) -> int:
    """Pictures in a folder, 0 where there is none."""
    path = Path(folder)
    return sum(file.suffix.lower() in PICTURES for file in path.iterdir()) if path.is_dir() else 0


@dataclass(frozen=True)
class Epochs:
    """What an epoch is: updates in one, or None where the pictures are not there to be counted."""

    updates: int | None

    def rule(self, target: str, beaten_by: str = "") -> Rule:
        """A number of epochs, written as updates, unless the flag `beaten_by` stands beside it."""

        def act(spot: Spot) -> None:
            if beaten_by and beaten_by in spot.group:
                return spot.ignore(f"--{beaten_by} stands beside it and decides")
            if self.updates is None:
                why = f"the pictures are not here to be counted; set {target}"
                return spot.ignore(why, matters=True)
            spot.put(target, int(spot.value) * self.updates, f"an epoch is {self.updates} updates of these pictures")

        return decide(target)(act)


def unless(other: str, rule: Rule) -> Rule:
    """The rule, unless another flag stands beside its own."""

    def act(spot: Spot) -> None:
        if other in spot.group:
            return spot.ignore(f"--{other} stands beside it and decides")
        rule.act(spot)

    return Rule(act, rule.targets, rule.why)


@decide("training.lr_schedule")
def schedule(spot: Spot) -> None:
    """`--lr_scheduler` by the names of transformers and diffusers."""
    found = SCHEDULES.get(str(spot.value))
    if found is None:
        return spot.put("training.lr_schedule", "constant", f"{spot.value!r} is not here", matters=True)
    if found == "cosine_restarts" and _num_falls(spot.group) == 1:
        return spot.put("training.lr_schedule", "cosine", "one cycle there, so it never restarts: a cosine")
    spot.put("training.lr_schedule", found, "" if found == spot.value else "the same by our name")


@decide("training.lr_restarts")
def cycles(spot: Spot) -> None:
    """The number of cosines of `cosine_with_restarts`; between N of them are N - 1 restarts."""
    falls = _num_falls(spot.group)
    if SCHEDULES.get(str(spot.group.get("lr_scheduler"))) != "cosine_restarts" or falls == 1:
        return spot.ignore("the schedule has no restarts")
    spot.put("training.lr_restarts", falls - 1, "cosines are counted there, the restarts between them here")


def _num_falls(flags: Mapping[str, Any]) -> int:
    return next((count(flags[name]) for name in _CYCLES if name in flags), 1)


def variant_by_name(name: str) -> str:
    """The variant that a path or repository suggests."""
    return variant_named(name) or variant_hinted(name) or "base"


def adapter_by_name(path: str) -> str:
    """A training adapter's short name where the file has its well-known name, else the path."""
    by_file = {known.rpartition("/")[2]: name for name, known in VARIANTS["turbo"].adapters.items()}
    return by_file.get(Path(path).name, path)

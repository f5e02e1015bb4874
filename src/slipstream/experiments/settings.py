"""Settings of an experiment as a user writes them: `target.rank=8,16` is compared, `training.steps=500` holds for all.

A value with a comma of its own is quoted (`'"a photo, blurred"'`); commas within brackets do not split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from slipstream.core.errors import ConfigError

_OPENING, _CLOSING, _QUOTES = "[{(", "]})", "'\""


@dataclass(frozen=True)
class Compared:
    """A setting that differs between the arms, and its values as they were written."""

    setting: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What was asked for: settings that hold for every arm, and those that are compared."""

    fixed: tuple[str, ...]
    compared: tuple[Compared, ...]

    def grid(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """Every combination of the values, the last setting turning fastest: (setting, value) pairs for each arm."""
        choices = [[(one.setting, value) for value in one.values] for one in self.compared]
        return tuple(product(*choices))


def read_wanted(arguments: Sequence[str]) -> Wanted:
    """The arguments `panel.setting=value` and `panel.setting=v1,v2`.

    Raises:
        ConfigError: one is malformed, a setting is given twice, or none has two values.
    """
    fixed: list[str] = []
    compared: list[Compared] = []
    seen: set[str] = set()
    for argument in arguments:
        setting, equals, text = argument.partition("=")
        if not equals or not setting.strip():
            raise ConfigError(
                f"got {argument!r}, expected panel.setting=value or panel.setting=v1,v2", where="setting",
                fix="write it like model.training_adapter=v1,v2.",
            )  # fmt: skip
        if setting in seen:
            raise ConfigError("is given twice", where=setting, fix=f"write all values at once: {setting}=A,B.")
        seen.add(setting)
        values = split_values(text)
        if len(values) > 1:
            compared.append(_compared(setting, values))
        else:
            fixed.append(argument)
    if not compared:
        raise ConfigError(_nothing_compared(fixed), where="slipstream ab", fix=_two_values(fixed))
    return Wanted(tuple(fixed), tuple(compared))


def _compared(setting: str, values: tuple[str, ...]) -> Compared:
    if not all(values):
        raise ConfigError(
            f"got an empty value in {','.join(values)!r}, expected values between commas", where=setting,
            fix="quote a value that has a comma of its own: '\"a, b\"'.",
        )  # fmt: skip
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise ConfigError(f"got the value {twice!r} twice", where=setting, fix="an arm differs from every other one.")
    if setting == "job.seed":
        raise ConfigError(
            "seeds are not arms: every arm is trained with every seed", where=setting,
            fix="say how many with --seeds 3; job.seed=7 sets the first.",
        )  # fmt: skip
    if setting in ("job.name", "job.output_dir"):
        raise ConfigError("names and places of runs are the experiment's", where=setting, fix="compare a setting.")
    return Compared(setting, values)


def _nothing_compared(fixed: Sequence[str]) -> str:
    if not fixed:
        return "got no setting to compare"
    return f"got one value for {', '.join(text.partition('=')[0] for text in fixed)}, so there is nothing to compare"


def _two_values(fixed: Sequence[str]) -> str:
    setting, _, value = fixed[0].partition("=") if fixed else ("model.training_adapter", "", "v1")
    return f"give a setting two values or more: {setting}={value},{'v2' if not fixed else 'ANOTHER'}."


def split_values(text: str) -> tuple[str, ...]:
    """The values between commas, those within quotes or brackets kept whole."""
    values = [""]
    depth, quote = 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES and not values[-1].strip():
            quote = letter
        elif letter in _OPENING:
            depth += 1
        elif letter in _CLOSING:
            depth -= 1
        if letter == "," and depth <= 0 and not quote:
            values.append("")
        else:
            values[-1] += letter
    return tuple(value.strip() for value in values)

"""What distinguishes configs: the settings in which they are not all alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ABSENT = "–"


@dataclass(frozen=True)
class Difference:
    """A setting that is not the same everywhere: its path, and its value in each config, `–` where there is none."""

    setting: str
    values: tuple[str, ...]


def differences(configs: Sequence[Mapping[str, Any]]) -> tuple[Difference, ...]:
    """The settings in which configs are not all alike, in the order of the panels."""
    flat = [flattened(config) for config in configs]
    settings = dict.fromkeys(setting for one in flat for setting in one)
    found = ((setting, tuple(one.get(setting, ABSENT) for one in flat)) for setting in settings)
    return tuple(Difference(setting, values) for setting, values in found if len(set(values)) > 1)


def flattened(config: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Every setting by its path (`datasets[0].path`), its value as a person would write it."""
    found: dict[str, str] = {}
    for key, value in config.items():
        path = f"{before}{key}"
        if isinstance(value, Mapping) and value:
            found |= flattened(value, f"{path}.")
        elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
            for index, one in enumerate(value):
                place = f"{path}[{index}]"
                found |= flattened(one, f"{place}.") if isinstance(one, Mapping) else {place: _text(one)}
        else:
            found[path] = _text(value)
    return found


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if value == "":
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)

"""What distinguishes configs: several runs from each other, or one from the defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipstream.config.run_config import RunConfig, config_from_run, parse_config
from slipstream.core.errors import ConfigError
from slipstream.runs.layout import RunDir

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


def run_values(run: RunDir) -> dict[str, Any]:
    """A run's config as plain values.

    Raises:
        ConfigError: it is damaged.
    """
    return config_from_run(run.config).model_dump(mode="json")


def from_defaults(run: RunDir) -> tuple[Difference, ...]:
    """The settings of a run that are not what they would be if they were left out: (the run's, the default).

    The model's variant and its folder, the run's name and the datasets' folders have no default, and count as told.

    Raises:
        ConfigError: its config is damaged.
    """
    config = config_from_run(run.config)
    return differences([config.model_dump(mode="json"), _bare(config).model_dump(mode="json")])


def _bare(config: RunConfig) -> RunConfig:
    """The least that could have been written for this run."""
    return parse_config(
        {
            "job": {"name": config.job.name},
            "model": {"variant": config.model.variant, "name_or_path": config.model.name_or_path},
            "datasets": [{"path": str(panel.path)} for panel in config.datasets],
        }
    )


def several(runs: Sequence[RunDir]) -> tuple[Difference, ...]:
    """The settings in which runs are not all alike; a run with a damaged config counts as having none."""
    found: list[Mapping[str, Any]] = []
    for run in runs:
        try:
            found.append(run_values(run))
        except ConfigError:
            found.append({})
    return differences(found)

"""What distinguishes configs: several runs from each other, or one from the defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slipstream.config.differences import Difference, differences
from slipstream.config.run_config import RunConfig, config_from_run, parse_config
from slipstream.core.errors import ConfigError
from slipstream.runs.layout import RunDir


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

"""Arms: the configs that an experiment compares, each with a short name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from slipstream.config.differences import Difference, differences
from slipstream.config.imports.open import open_config
from slipstream.config.run_config import RunConfig
from slipstream.core.errors import ConfigError
from slipstream.core.hashing import hash_text
from slipstream.experiments.settings import Wanted

_LONGEST = 28
_TELL_NOTHING = ("true", "false", "null", "none", "on", "off", "auto")
"""Values that do not say of what."""
_PLACES = ("name", "output_dir", "seed")
"""Settings of `job` that the experiment gives."""


@dataclass(frozen=True)
class Arm:
    """One way to train: its name in sentences, and every setting but the seed, the name and the place of its runs."""

    label: str
    settings: Mapping[str, Any]

    @property
    def slug(self) -> str:
        """The label as a part of a folder's name."""
        return slug_of(self.label)


@dataclass(frozen=True)
class Arms:
    """All arms, the first of which is what the others are compared with, and what they share.

    Attributes:
        arms: two or more, no two of them alike.
        name: what to call the experiment unless the user does.
        runs_dir: where its runs go.
        first_seed: of the first pair.
        seeds: `job.seed` of each arm's config as the user wrote it.
    """

    arms: tuple[Arm, ...]
    name: str
    runs_dir: Path
    first_seed: int
    seeds: tuple[int, ...]


def arms_of_settings(path: Path, wanted: Wanted) -> Arms:
    """An arm for each combination of the values.

    Raises:
        ConfigError: a setting is unknown or wrong, or two arms come out alike.
    """
    combinations = wanted.grid()
    configs = [open_config(path, _overrides(wanted, pairs)).config for pairs in combinations]
    labels = unique([label_of(pairs) for pairs in combinations])
    return _arms(configs, labels, f"{configs[0].job.name}_{'_vs_'.join(map(slug_of, labels))}")


def _overrides(wanted: Wanted, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """All settings over the file's; the compared ones last."""
    return [*wanted.fixed, *(f"{setting}={value}" for setting, value in pairs)]


def arms_of_files(paths: Sequence[Path], overrides: Sequence[str] = ()) -> Arms:
    """An arm for each config file, called like the file; the first one's folder of runs is that of all.

    Raises:
        ConfigError: fewer than two files, a file is wrong, or two of them say the same.
    """
    if len(paths) < 2:
        raise ConfigError(
            f"got {len(paths)} config, expected two or more", where="slipstream compare",
            fix="name another one; or compare values of a setting: slipstream ab FILE target.rank=8,16.",
        )  # fmt: skip
    configs = [open_config(path, overrides).config for path in paths]
    stems = [path.stem for path in paths]
    if len(set(stems)) < len(stems):
        stems = [f"{path.resolve().parent.name}_{path.stem}" for path in paths]
    labels = unique(stems)
    return _arms(configs, labels, "_vs_".join(map(slug_of, labels)))


def _arms(configs: Sequence[RunConfig], labels: Sequence[str], name: str) -> Arms:
    arms = tuple(Arm(label, settings_of(config)) for label, config in zip(labels, configs, strict=True))
    for number, arm in enumerate(arms):
        for other in arms[:number]:
            if not differences([other.settings, arm.settings]):
                raise ConfigError(
                    f"{other.label!r} and {arm.label!r} are the same settings: there is nothing to compare",
                    where="arms", fix="change a setting in one of them.",
                )  # fmt: skip
    first = configs[0].job
    seeds = tuple(config.job.seed for config in configs)
    return Arms(arms, _short_name(name, configs[0]), first.output_dir.expanduser().resolve(), first.seed, seeds)


def _short_name(name: str, config: RunConfig) -> str:
    """The name, or where it grew too long the config's with a number that stands for the rest."""
    if len(name) <= 2 * _LONGEST:
        return name
    return f"{config.job.name[:_LONGEST]}_ab_{hash_text(name)[:6]}"


def settings_of(config: RunConfig) -> dict[str, Any]:
    """A config's plain values without what the experiment gives each run."""
    values = config.model_dump(mode="json")
    return {**values, "job": {key: value for key, value in values["job"].items() if key not in _PLACES}}


def differing(arms: Sequence[Arm]) -> tuple[Difference, ...]:
    """The settings in which arms are not all alike."""
    return differences([arm.settings for arm in arms])


def label_of(pairs: Sequence[tuple[str, str]]) -> str:
    """An arm in a few letters: `v2`, `rank 16`, `rank 16, learning_rate 1e-4`."""
    alone = len(pairs) == 1
    return ", ".join(_named(setting, value, alone=alone) for setting, value in pairs)


def _named(setting: str, value: str, *, alone: bool) -> str:
    text = value.strip("'\"")
    if "/" in text or "\\" in text:
        text = PurePath(text).stem
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 1]}…"
    says_enough = alone and re.match(r"[A-Za-z]", text) and text.lower() not in _TELL_NOTHING
    return text if says_enough else f"{setting.rpartition('.')[2]} {text}"


def unique(labels: Sequence[str]) -> list[str]:
    """The labels, numbered where several are alike as part of a folder's name."""
    slugs = [slug_of(label) for label in labels]
    return [
        f"{label} {number}" if slugs.count(slug) > 1 else label
        for number, (label, slug) in enumerate(zip(labels, slugs, strict=True), start=1)
    ]


def slug_of(label: str) -> str:
    """A label in letters that a folder's name may have."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", label).strip("._-+") or "arm"

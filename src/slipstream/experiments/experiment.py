"""An experiment: arms by seeds, kept in `experiments/<name>/experiment.json` beside the folder of runs.

The file is the experiment's identity: the same command finds it again and goes on; other settings are refused under its
name. Its runs are ordinary runs, called `<experiment>-<arm>-s<seed>`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slipstream.config.differences import differences
from slipstream.config.job import MAX_NAME_LENGTH, folder_name
from slipstream.config.run_config import RunConfig, parse_config
from slipstream.core.atomic import write_json
from slipstream.core.errors import ConfigError, RunError
from slipstream.experiments.arms import Arm, Arms
from slipstream.runs.create import run_called
from slipstream.runs.layout import RunDir

FORMAT = 1
MOST_RUNS = 24
"""More than that must be asked for: a grid grows quickly."""
_MOST_DIFFERENCES = 6


@dataclass(frozen=True)
class PlannedRun:
    """One training of an experiment: which arm (its number) with which seed, and the name of its run."""

    arm: int
    seed: int
    name: str


@dataclass(frozen=True)
class Experiment:
    """Arms by seeds. The first arm is what the others are compared with.

    Attributes:
        name: of the experiment and its folder.
        arms: two or more.
        seeds: `job.seed` of each pair.
        runs_dir: the folder of its runs, absolute.
        command: what goes on with it.
        created: seconds since 1970.
        file_seeds: `job.seed` of each arm's config as it was written.
    """

    name: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    runs_dir: Path
    command: str
    created: float
    file_seeds: tuple[int, ...] = ()

    @property
    def folder(self) -> Path:
        """Where the experiment keeps what is its own."""
        return experiments_dir(self.runs_dir) / self.name

    @property
    def file(self) -> Path:
        """The experiment's record."""
        return self.folder / "experiment.json"

    @property
    def report(self) -> Path:
        """The page about the experiment."""
        return self.folder / "report.html"

    @property
    def runs(self) -> tuple[PlannedRun, ...]:
        """Every training, pair by pair, so that there is something to compare after the first."""
        return tuple(
            PlannedRun(number, seed, f"{self.name}-{arm.slug}-s{seed}")
            for seed in self.seeds
            for number, arm in enumerate(self.arms)
        )

    def run_dir(self, planned: PlannedRun) -> RunDir:
        """The folder of a run, there or not."""
        return run_called(self.runs_dir, planned.name)

    def config(self, planned: PlannedRun) -> RunConfig:
        """What a run is told: its arm's settings under its own name and with its pair's seed.

        Raises:
            ConfigError: the record holds settings that are none of this version.
        """
        settings = self.arms[planned.arm].settings
        job = {**settings["job"], "name": planned.name, "seed": planned.seed, "output_dir": str(self.runs_dir)}
        return parse_config({**settings, "job": job}, source=self.name)


def experiments_dir(runs_dir: Path) -> Path:
    """The folder of experiments that belongs to a folder of runs."""
    return runs_dir.parent / "experiments"


def plan_experiment(
    arms: Arms, num_seeds: int, *, command: str, name: str | None = None, most_runs: int = MOST_RUNS
) -> Experiment:
    """An experiment of these arms over `num_seeds` seeds, not written yet.

    Raises:
        ConfigError: its name cannot be a folder's, or it takes more runs than `most_runs`.
    """
    name = name or folder_name(arms.name)
    if folder_name(name) != name:
        raise ConfigError(f"got {name!r}, expected a name that can be a folder", where="--name",
                          fix=f"for example {folder_name(name)!r}.")  # fmt: skip
    seeds = tuple(arms.first_seed + number for number in range(num_seeds))
    made = Experiment(name, arms.arms, seeds, arms.runs_dir, command, time.time(), arms.seeds)
    return _within_bounds(made, most_runs)


def _within_bounds(experiment: Experiment, most_runs: int) -> Experiment:
    count = len(experiment.runs)
    if count > most_runs:
        raise ConfigError(
            f"{len(experiment.arms)} arms with {len(experiment.seeds)} seeds are {count} trainings, more than "
            f"{most_runs}", where=experiment.name,
            fix=f"compare fewer values, or say that you mean it: --max-runs {count}.",
        )  # fmt: skip
    longest = max((run.name for run in experiment.runs), key=len)
    if len(longest) > MAX_NAME_LENGTH:
        raise ConfigError(
            f"its runs would have names of {len(longest)} characters, at most {MAX_NAME_LENGTH} are allowed",
            where=experiment.name, fix="give a shorter one with --name.",
        )  # fmt: skip
    return experiment


def settle(planned: Experiment, *, most_runs: int = MOST_RUNS) -> Experiment:
    """The experiment to work on, written: the one of that name goes on where there is one, with seeds that were added.

    Raises:
        ConfigError: the one of that name has other settings, or grows too large.
        RunError: its record is damaged, or cannot be written.
    """
    if not planned.file.exists():
        return write_experiment(planned)
    there = read_experiment(planned.folder)
    _require_same(there, planned)
    seeds = tuple(dict.fromkeys((*there.seeds, *planned.seeds)))
    settled = _within_bounds(
        replace(there, seeds=seeds, runs_dir=planned.runs_dir, command=planned.command), max(most_runs, len(there.runs))
    )
    return settled if settled == there else write_experiment(settled)


def _require_same(there: Experiment, planned: Experiment) -> None:
    """Pass where both compare the same."""
    fix = "go on with its own command, or give this one another name: --name my_second_try."
    where = str(there.folder)
    if [arm.label for arm in there.arms] != [arm.label for arm in planned.arms]:
        raise ConfigError(
            f"the experiment {there.name!r} is there already and compares {_listed(there.arms)}, not "
            f"{_listed(planned.arms)}", where=where, fix=fix,
        )  # fmt: skip
    found: dict[str, str] = {}
    for before, now in zip(there.arms, planned.arms, strict=True):
        for one in differences([before.settings, now.settings]):
            found[one.setting] = f"{one.setting} was {one.values[0]}, now {one.values[1]}"
    if found:
        lines = list(found.values())
        shown = "; ".join(lines[:_MOST_DIFFERENCES])
        more = f"; and {len(lines) - _MOST_DIFFERENCES} more" if len(lines) > _MOST_DIFFERENCES else ""
        raise ConfigError(
            f"the experiment {there.name!r} is there already with other settings: {shown}{more}", where=where, fix=fix
        )


def _listed(arms: Sequence[Arm]) -> str:
    return ", ".join(arm.label for arm in arms)


def write_experiment(experiment: Experiment) -> Experiment:
    """Write the record; returns the experiment.

    Raises:
        RunError: it cannot be written.
    """
    try:
        experiment.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot be made: {error}", where=str(experiment.folder), fix="check its permissions."
        ) from error
    value = {
        "format": FORMAT,
        "name": experiment.name,
        "created": experiment.created,
        "command": experiment.command,
        "runs_dir": os.path.relpath(experiment.runs_dir, experiment.folder),
        "seeds": list(experiment.seeds),
        "file_seeds": list(experiment.file_seeds),
        "arms": [{"label": arm.label, "settings": arm.settings} for arm in experiment.arms],
        "runs": [
            {"arm": experiment.arms[one.arm].label, "seed": one.seed, "name": one.name} for one in experiment.runs
        ],
    }  # fmt: skip
    write_json(experiment.file, value)
    return experiment


def read_experiment(folder: Path) -> Experiment:
    """The experiment of a folder.

    Raises:
        RunError: its record is missing, damaged, or of another version.
    """
    path = folder / "experiment.json"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return _experiment(folder, value)
    except FileNotFoundError as error:
        raise RunError("this is no experiment (it has no experiment.json)", where=str(folder),
                       fix="give a folder of `experiments/`.") from error  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"its record cannot be read: {error}", where=str(path),
            fix="delete the folder and hand the experiment in again; finished runs are kept.",
        ) from error  # fmt: skip


def _experiment(folder: Path, value: dict[str, Any]) -> Experiment:
    if value["format"] != FORMAT:
        raise ValueError(f"it is of format {value['format']}, this version reads {FORMAT}")
    arms = tuple(Arm(str(arm["label"]), dict(arm["settings"])) for arm in value["arms"])
    if len(arms) < 2 or folder_name(value["name"]) != folder.name or not all("job" in arm.settings for arm in arms):
        raise ValueError("arms or name are missing")
    return Experiment(
        name=folder.name, arms=arms, seeds=tuple(int(seed) for seed in value["seeds"]),
        runs_dir=(folder / str(value["runs_dir"])).resolve(), command=str(value["command"]),
        created=float(value["created"]), file_seeds=tuple(int(seed) for seed in value["file_seeds"]),
    )  # fmt: skip


def list_experiments(folder: Path) -> list[Experiment]:
    """The experiments of a folder, the newest first; what cannot be read is left out."""
    found: list[Experiment] = []
    try:
        folders = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:
        return []
    for path in folders:
        try:
            found.append(read_experiment(path))
        except RunError:
            continue
    return sorted(found, key=lambda one: (-one.created, one.name))

"""Experiments as lists and pages show them: `experiments/<name>` beside the studio's folder of runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slipstream.core.errors import JobError
from slipstream.experiments.arms import arms_of_settings
from slipstream.experiments.comparison import Comparison, compare
from slipstream.experiments.experiment import (
    Experiment,
    experiments_dir,
    list_experiments,
    plan_experiment,
    read_experiment,
    settle,
)
from slipstream.experiments.page import page_of
from slipstream.experiments.settings import read_wanted
from slipstream.experiments.standing import FindJob, Standing, State, counted, standings
from slipstream.reports.experiment_page import write_experiment_page
from slipstream.runs.layout import RunDir
from slipstream.web.problems import missing
from slipstream.web.services.places import child
from slipstream.web.services.queue import queue_of
from slipstream.web.services.runs import find_run
from slipstream.web.settings import StudioSettings


@dataclass(frozen=True)
class ExperimentSummary:
    """An experiment in a list. `counts` says how many of its `num_runs` runs are in each state that any is in."""

    name: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    num_runs: int
    counts: dict[State, int]
    created: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class RunOfExperiment:
    """One training: its arm (a number) and seed, the name of its run, how it stands, and its job in the queue."""

    arm: int
    seed: int
    run: str
    state: State
    phase: str
    step: int
    steps: int
    loss: float | None
    seconds_per_step: float | None
    eta_seconds: float | None
    message: str
    job: int | None
    exists: bool
    """Whether there is a run folder to look at."""


@dataclass(frozen=True)
class ExperimentDetail:
    """An experiment on its own page: how its runs stand, and what their comparison says so far."""

    summary: ExperimentSummary
    command: str
    """What goes on with it."""
    runs: tuple[RunOfExperiment, ...]
    comparison: Comparison


def list_summaries(settings: StudioSettings) -> list[ExperimentSummary]:
    """All experiments, the newest first."""
    find_job = _find_job(settings)
    found = [_here(settings, one) for one in list_experiments(experiments_dir(settings.runs_dir))]
    return [summarize(one, standings(find_job, one)) for one in found]


def find_experiment(settings: StudioSettings, name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        RefusedError: there is none (404), or its record cannot be read.
    """
    folder = child(experiments_dir(settings.runs_dir), name, "experiment")
    if not (folder / "experiment.json").is_file():
        raise missing("experiment of this name", where=name, fix="see the list of experiments.")
    return _here(settings, read_experiment(folder))


def _here(settings: StudioSettings, experiment: Experiment) -> Experiment:
    """The experiment with its runs in the studio's folder, the only one that the studio looks into."""
    return replace(experiment, runs_dir=settings.runs_dir.resolve())


def _find_job(settings: StudioSettings) -> FindJob | None:
    """What the queue knows of runs; where it cannot be opened, run folders tell what they can."""
    from slipstream.experiments.queueing import job_finder

    try:
        return job_finder(queue_of(settings))
    except JobError:
        return None


def plan(settings: StudioSettings, run: str, wanted: Sequence[str], seeds: int, name: str | None) -> Experiment:
    """An experiment that compares values of settings, all else as in a run of the studio; not begun.

    Raises:
        RefusedError: there is no such run (404).
        ConfigError: a setting is wrong or unknown, none has two values, or it takes too many trainings.
    """
    config = find_run(settings.runs_dir, run).config
    arms = arms_of_settings(config, read_wanted(wanted))
    command = shlex.join(
        ["slipstream", "ab", str(config), *wanted, "--seeds", str(seeds), *(["--name", name] if name else [])]
    )
    return plan_experiment(replace(arms, runs_dir=settings.runs_dir.resolve()), seeds, command=command, name=name)


def begin(settings: StudioSettings, planned: Experiment) -> Experiment:
    """Keep the experiment and put its runs into the queue; one that is there already goes on, with seeds added.

    Raises:
        ConfigError: the one of that name has other settings.
        JobError: a run of that name is another training's, or the queue cannot be opened.
    """
    experiment = settle(planned)
    go_on(settings, experiment)
    return experiment


def go_on(settings: StudioSettings, experiment: Experiment) -> int:
    """Put every run that is not finished and does not wait already into the queue; returns how many that were.

    Raises:
        JobError: a run of that name is another training's, or the queue cannot be opened.
    """
    from slipstream.experiments.queueing import hand_in

    return hand_in(queue_of(settings), experiment)


def summarize(experiment: Experiment, found: Sequence[Standing]) -> ExperimentSummary:
    """An experiment in a few words."""
    labels = tuple(arm.label for arm in experiment.arms)
    return ExperimentSummary(experiment.name, labels, experiment.seeds, len(found), counted(found), experiment.created)


def describe(
    settings: StudioSettings, experiment: Experiment, before: ExperimentDetail | None = None
) -> ExperimentDetail:
    """The experiment in detail; with the detail before, figures are read again only where another run has finished."""
    found = standings(_find_job(settings), experiment)
    runs = tuple(_run(experiment.run_dir(one.planned), one) for one in found)
    same = before is not None and finished_runs(before.runs) == finished_runs(runs)
    comparison = before.comparison if before is not None and same else compare(experiment, found)
    return ExperimentDetail(summarize(experiment, found), experiment.command, runs, comparison)


def finished_runs(runs: Sequence[RunOfExperiment]) -> tuple[str, ...]:
    """The names of those that are finished."""
    return tuple(one.run for one in runs if one.state == "finished")


def _run(run: RunDir, standing: Standing) -> RunOfExperiment:
    planned, progress = standing.planned, standing.progress
    return RunOfExperiment(
        planned.arm, planned.seed, planned.name, standing.state, progress.phase, progress.step, progress.steps,
        progress.loss, progress.seconds_per_step, progress.eta_seconds, progress.message, standing.job,
        run.config.is_file(),
    )  # fmt: skip


def fresh_report(settings: StudioSettings, experiment: Experiment) -> Path:
    """The experiment's report as its runs stand now, kept in the studio's own folder until one of them goes on.

    Raises:
        RunError: it cannot be written.
    """
    found = standings(_find_job(settings), experiment)
    changed = max((_changed(experiment.run_dir(one.planned)) for one in found), default=0.0)
    kept = settings.home / "experiment_reports" / f"{experiment.name}.html"
    try:
        is_fresh = kept.stat().st_mtime >= max(changed, experiment.file.stat().st_mtime)
    except OSError:
        is_fresh = False
    if not is_fresh:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_experiment_page(kept, page_of(experiment, compare(experiment, found), found))
    return kept


def _changed(run: RunDir) -> float:
    try:
        return run.progress.stat().st_mtime
    except OSError:
        return 0.0

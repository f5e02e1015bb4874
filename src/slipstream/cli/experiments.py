"""What `slipstream ab` and `slipstream compare` do: hand an experiment in, watch it, and say what came of it."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from slipstream.cli.experiment_view import ExperimentView
from slipstream.cli.queueing import opened_queue, require_device
from slipstream.cli.screen import out
from slipstream.config.differences import Difference
from slipstream.core.errors import ConfigError
from slipstream.experiments.arms import Arms, arms_of_files, arms_of_settings, differing
from slipstream.experiments.comparison import Comparison, compare
from slipstream.experiments.experiment import Experiment, plan_experiment, settle
from slipstream.experiments.page import mean_text, write_report
from slipstream.experiments.pairing import pairing
from slipstream.experiments.queueing import hand_in, job_finder
from slipstream.experiments.sentences import findings, interval, limits, note_text, plus_minus
from slipstream.experiments.settings import read_wanted
from slipstream.experiments.standing import Standing, standings
from slipstream.jobs.database import Database
from slipstream.jobs.service import ensure_supervisor

_LOOK_SECONDS = 0.5
_SUPERVISED_SECONDS = 10.0


@dataclass(frozen=True)
class ExperimentOptions:
    """The commands' options. `name` None: made from what is compared; `queue` None: what job.device asks for."""

    seeds: int
    name: str | None
    queue: str | None
    max_runs: int
    wait: bool
    dry_run: bool
    as_json: bool


def ab_command(config: Path, settings: Sequence[str], options: ExperimentOptions) -> int:
    """Values of settings against each other; returns the exit code."""
    return _command(arms_of_settings(config, read_wanted(settings)), options)


def compare_command(configs: Sequence[Path], overrides: Sequence[str], options: ExperimentOptions) -> int:
    """Whole configs against each other; returns the exit code."""
    return _command(arms_of_files(configs, overrides), options)


def split_arguments(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Config files, and settings over all of them: whatever has an `=` and is no file."""
    overrides = [text for text in arguments if "=" in text and not Path(text).exists()]
    return [Path(text) for text in arguments if text not in overrides], overrides


def _command(arms: Arms, options: ExperimentOptions) -> int:
    if options.seeds < 1:
        raise ConfigError(f"got {options.seeds}, expected 1 or more", where="--seeds", fix="three is a good start.")
    planned = plan_experiment(
        arms, options.seeds, command=_as_typed(), name=options.name, most_runs=options.max_runs
    )  # fmt: skip
    if not options.as_json:
        _tell_plan(planned)
    if options.dry_run:
        return 0
    if options.queue is not None:
        require_device(options.queue)
    experiment = settle(planned, most_runs=options.max_runs)
    with opened_queue() as db:
        added = hand_in(db, experiment, queue=options.queue)
        ensure_supervisor()
        if not options.as_json:
            _tell_added(experiment, added)
        return _follow(db, experiment, options)


def _as_typed() -> str:
    """The command, as a person would type it again."""
    words = [word for word in sys.argv[1:] if word not in ("--no-wait", "--json")]
    return shlex.join(["slipstream", *words])


def _tell_plan(experiment: Experiment) -> None:
    """The arms, what differs, and what that does to the pairs."""
    labels = [arm.label for arm in experiment.arms]
    seeds = ", ".join(map(str, experiment.seeds))
    out.print(f"[bold]{escape(experiment.name)}[/bold]  {escape(' against '.join(labels))}; seeds {seeds}")
    out.print(_difference_table(labels, differing(experiment.arms)))
    pairs = pairing(experiment)
    if pairs.same_order:
        out.print("[dim]within a seed: the same pictures in the same order, the same noise, the same previews[/dim]")
    for note in pairs.notes:
        out.print(f"[yellow]careful[/yellow]  {escape(note_text(note))}")
    out.print(f"{len(experiment.runs)} trainings: {len(labels)} arms x {len(experiment.seeds)} seeds")


def _difference_table(labels: Sequence[str], found: Sequence[Difference]) -> Table:
    table = Table(box=None, header_style="dim")
    for heading in ("differs", *labels):
        table.add_column(escape(heading), overflow="fold")
    for one in found:
        table.add_row(escape(one.setting), *map(escape, one.values))
    return table


def _tell_added(experiment: Experiment, added: int) -> None:
    there = len(experiment.runs) - added
    rest = f"; {there} {'was' if there == 1 else 'were'} there already" if there else ""
    noun = "run" if added == 1 else "runs"
    out.print(f"{added} {noun} put into the queue{rest}. The experiment: {escape(str(experiment.folder))}")


def _follow(db: Database, experiment: Experiment, options: ExperimentOptions) -> int:
    """Watch until nothing more comes, unless the user does not want to; write the report; returns the exit code."""
    found = standings(job_finder(db), experiment)
    left = not options.wait
    if options.wait:
        try:
            found = _watch(db, experiment, quiet=options.as_json)
        except KeyboardInterrupt:
            left = True
            found = standings(job_finder(db), experiment)
    comparison = compare(experiment, found)
    report = write_report(experiment, comparison, found)
    if options.as_json:
        out.print(json.dumps(as_plain(experiment, comparison, found), indent=2), markup=False)
    else:
        _tell_result(comparison, report)
        _tell_rest(experiment, found, left=left)
    if left and not all(one.over for one in found):
        return 0
    return 0 if all(one.state == "finished" for one in found) else 1


def _watch(db: Database, experiment: Experiment, *, quiet: bool) -> tuple[Standing, ...]:
    """Show all runs until each is over, and see to it that a supervisor lives."""
    labels = [arm.label for arm in experiment.arms]
    supervised = time.monotonic()
    with ExperimentView(labels, quiet=quiet) as view:
        while True:
            found = standings(job_finder(db), experiment)
            view.show(found)
            if all(one.over for one in found):
                return found
            if time.monotonic() - supervised > _SUPERVISED_SECONDS:
                ensure_supervisor()
                supervised = time.monotonic()
            time.sleep(_LOOK_SECONDS)


def _tell_result(comparison: Comparison, report: Path) -> None:
    if comparison.measures:
        out.print(_figure_table(comparison))
    if comparison.finished_pairs:
        for line in findings(comparison):
            out.print(f"[bold]-[/bold] {escape(line)}")
    for line in limits(comparison):
        out.print(f"[dim]- {escape(line)}[/dim]")
    out.print(f"report: {escape(str(report))}")


def _figure_table(comparison: Comparison) -> Table:
    table = Table(box=None, header_style="dim")
    table.add_column("mean over seeds", min_width=16)
    for label in comparison.arms:
        table.add_column(escape(label), justify="right", overflow="fold")
    for label in comparison.arms[1:]:
        table.add_column(escape(f"{label} - {comparison.arms[0]}"), justify="right", overflow="fold")
        table.add_column("95 % interval")
    for one in comparison.measures:
        cells = [mean_text(row, one.unit) for row in one.values]
        for contrast in one.contrasts:
            if contrast.verdict == "different_scale":
                cells += ["[dim]not compared[/dim]", ""]
            else:
                cells += [plus_minus(contrast.pairs), interval(contrast.pairs)]
        table.add_row(one.title, *cells)
    return table


def _tell_rest(experiment: Experiment, found: Sequence[Standing], *, left: bool) -> None:
    """What is still to come, and how to come back."""
    names = {state: [one for one in found if one.state == state] for state in ("failed", "stopped", "paused")}
    for one in names["failed"]:
        out.print(
            f"[red]failed[/red]  {escape(one.planned.name)}: {escape(one.progress.message.partition(chr(10))[0])}"
        )
    if left and not all(one.over for one in found):
        out.print("the queue goes on with it. Come back with the same command, or look at it in the studio: "
                  f"slipstream studio, /experiments/{escape(experiment.name)}")  # fmt: skip
        out.print(f"  {escape(experiment.command)}")
    elif any(names.values()):
        missing = sum(len(ones) for ones in names.values())
        out.print(f"{missing} of {len(found)} runs are not finished; the same command goes on with them"
                  + (" (paused ones: slipstream queue resume JOB)" if names["paused"] else ""))  # fmt: skip


def as_plain(experiment: Experiment, comparison: Comparison, found: Sequence[Standing]) -> dict[str, object]:
    """Everything as plain values, for programs."""
    runs = [
        {"arm": comparison.arms[one.planned.arm], "seed": one.planned.seed, "run": one.planned.name, "state": one.state,
         "job": one.job, "step": one.progress.step, "steps": one.progress.steps}
        for one in found
    ]  # fmt: skip
    return {
        **dataclasses.asdict(comparison),
        "findings": findings(comparison),
        "limits": limits(comparison),
        "runs": runs,
        "report": str(experiment.report),
    }

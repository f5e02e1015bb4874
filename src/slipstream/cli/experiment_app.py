"""`slipstream ab` and `slipstream compare` as they are typed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Seeds = Annotated[int, typer.Option(help="Pairs: every arm is trained with each of so many seeds.")]
Name = Annotated[str | None, typer.Option(help="The experiment's name.", show_default="made from what is compared")]
Queue = Annotated[str | None, typer.Option(help="any, cpu, gpu:0, ...", show_default="what job.device asks for")]
MaxRuns = Annotated[int, typer.Option(min=2, help="Refuse more trainings than this.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Put the runs into the queue and leave.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what differs and what would be trained; start nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")]


def ab(
    config: Annotated[Path, typer.Argument(help="The config that all arms start from.", show_default=False)],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to compare, such as target.rank=8,16 (several make a grid); one value alone holds for all.",
            show_default=False,
        ),
    ] = None,
    seeds: Seeds = 3,
    name: Name = None,
    queue: Queue = None,
    max_runs: MaxRuns = 24,
    no_wait: NoWait = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Compare values of a setting: paired trainings through the queue, and what their differences allow to say."""
    from slipstream.cli.experiments import ExperimentOptions, ab_command

    options = ExperimentOptions(seeds, name, queue, max_runs, not no_wait, dry_run, as_json)
    raise typer.Exit(ab_command(config, settings or [], options))


def compare(
    configs: Annotated[
        list[str],
        typer.Argument(
            help="Two or more configs; settings such as training.steps=500 hold for all.", show_default=False
        ),
    ],
    seeds: Seeds = 3,
    name: Name = None,
    queue: Queue = None,
    max_runs: MaxRuns = 24,
    no_wait: NoWait = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Compare whole configs the same way: `slipstream compare a.yaml b.yaml --seeds 3`."""
    from slipstream.cli.experiments import ExperimentOptions, compare_command, split_arguments

    paths, overrides = split_arguments(configs)
    options = ExperimentOptions(seeds, name, queue, max_runs, not no_wait, dry_run, as_json)
    raise typer.Exit(compare_command(paths, overrides, options))

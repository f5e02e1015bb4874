"""`slipstream queue ...`: the queue on a terminal. The same functions serve the studio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

queue_app = typer.Typer(help="Trainings that wait their turn, by device.", no_args_is_help=True)

JobId = Annotated[int, typer.Argument(help="The job's number, as `queue list` shows it.", show_default=False)]
JobOrQueue = Annotated[
    str, typer.Argument(help="A job's number, or a queue: cpu, gpu:0, ..., any.", show_default=False)
]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Settings over the job's, such as training.steps=500", show_default=False)
]


@queue_app.command("add")
def add(
    source: Annotated[Path, typer.Argument(help="A config file, or a run folder to go on with.", show_default=False)],
    overrides: Overrides = None,
    queue: Annotated[
        str | None, typer.Option(help="any, cpu, gpu:0, ...", show_default="what job.device asks for")
    ] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Let it wait until it is resumed.")] = False,
    resumes: Annotated[int, typer.Option(min=0, help="Automatic resumes after its worker was killed.")] = 1,
) -> None:
    """Put a training into the queue; it starts when a device is free."""
    from slipstream.cli.queueing import add_command

    add_command(source, overrides or [], queue=queue, paused=paused, resumes=resumes)


@queue_app.command("list")
def list_(
    all_: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """Show what runs and what waits."""
    from slipstream.cli.queueing import list_command

    list_command(everything=all_, as_json=as_json)


@queue_app.command()
def stop(
    job: JobId, now: Annotated[bool, typer.Option("--now", help="Kill it; what it saved before stays whole.")] = False
) -> None:
    """Let a job save and stop; one that waits is stopped before its turn."""
    from slipstream.cli.queueing import stop_command

    stop_command(job, now=now)


@queue_app.command()
def pause(job_or_queue: JobOrQueue) -> None:
    """Let a waiting job wait on, or let a queue start nothing new."""
    from slipstream.cli.queueing import pause_command

    pause_command(job_or_queue)


@queue_app.command()
def resume(job_or_queue: JobOrQueue) -> None:
    """Let a paused job, or a paused queue, go on."""
    from slipstream.cli.queueing import resume_command

    resume_command(job_or_queue)


@queue_app.command()
def move(
    job: JobId,
    before: Annotated[int | None, typer.Option(help="Right before this job.", show_default=False)] = None,
    after: Annotated[int | None, typer.Option(help="Right after this job.", show_default=False)] = None,
    front: Annotated[bool, typer.Option("--front", help="First of all.")] = False,
    back: Annotated[bool, typer.Option("--back", help="Last of all.")] = False,
) -> None:
    """Change a waiting job's place."""
    from slipstream.cli.queueing import move_command

    move_command(job, before=before, after=after, front=front, back=back)


@queue_app.command()
def requeue(
    job: JobId,
    overrides: Overrides = None,
    front: Annotated[bool, typer.Option("--front", help="First of all.")] = False,
) -> None:
    """Put a job that has ended back: it goes on from its newest checkpoint, with other settings where given."""
    from slipstream.cli.queueing import requeue_command

    requeue_command(job, overrides or [], front=front)


@queue_app.command()
def remove(
    job: JobId, files: Annotated[bool, typer.Option("--files", help="Delete its run folder, too.")] = False
) -> None:
    """Take a job out of the list."""
    from slipstream.cli.queueing import remove_command

    remove_command(job, files=files)


@queue_app.command()
def work(
    until_idle: Annotated[bool, typer.Option("--until-idle", help="Return when nothing runs or can start.")] = False,
    end: Annotated[bool, typer.Option("--end", help="End the supervisor that works now; trainings go on.")] = False,
) -> None:
    """Be the supervisor that starts the jobs (`queue add` starts one by itself; this one shows what it does)."""
    from slipstream.cli.queueing import work_command

    raise typer.Exit(work_command(until_idle=until_idle, end=end))

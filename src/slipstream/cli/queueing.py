"""What `slipstream queue ...` does and prints."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from slipstream.cli.screen import duration, out
from slipstream.core.errors import ConfigError, JobError
from slipstream.jobs import control, store, training_jobs
from slipstream.jobs.database import Database, open_database
from slipstream.jobs.devices import find_gpus, queue_names
from slipstream.jobs.job import ACTIVE, ANY, WAITING, Job, NewJob
from slipstream.jobs.service import ensure_supervisor, find_supervisor, log_path, serve, stop_supervisor
from slipstream.runs.progress import read_progress

_COLOURS = {"running": "green", "failed": "red", "finished": "bold green", "paused": "yellow", "stopped": "yellow"}


@contextmanager
def opened_queue() -> Iterator[Database]:
    """The queue, open for the length of a block."""
    db = open_database()
    try:
        yield db
    finally:
        db.close()


def add_command(source: Path, overrides: list[str], *, queue: str | None, paused: bool, resumes: int) -> None:
    """Hand in a config or a run, and see to it that a supervisor lives."""
    new = _new_job(source, overrides, queue=queue, paused=paused, resumes=resumes)
    require_device(new.queue)
    with opened_queue() as db:
        job = store.add(db, new)
    out.print(f"[bold]job {job.id}[/bold]  {escape(job.name)}, {job.state} for {job.queue}: {escape(str(job.run_dir))}")
    if ensure_supervisor():
        out.print(f"[dim]a supervisor was started; what it does: {escape(str(log_path()))}[/dim]")


def _new_job(source: Path, overrides: list[str], *, queue: str | None, paused: bool, resumes: int) -> NewJob:
    if source.is_dir():
        if overrides:
            raise ConfigError(
                "a run folder brings its own settings", where=str(source),
                fix="add it, then: slipstream queue requeue JOB training.steps=4000 once it has ended.",
            )  # fmt: skip
        return training_jobs.job_of_run(source, queue=queue, paused=paused, max_resumes=resumes)
    from slipstream.cli.imports import open_and_tell

    config = open_and_tell(source, overrides)
    return training_jobs.training_job(config, queue=queue, paused=paused, max_resumes=resumes)


def require_device(queue: str) -> None:
    """A queue that no device of this machine serves would keep its jobs for ever."""
    names = queue_names(find_gpus())
    if queue != ANY and queue not in names:
        raise JobError(f"this machine has no {queue}", where="queue", fix=f"one of: any, {', '.join(names)}.")


def list_command(*, everything: bool, as_json: bool) -> None:
    """A table of the jobs, in the queue's order."""
    with opened_queue() as db:
        jobs = store.list_jobs(db, states=() if everything else (*ACTIVE, *WAITING), limit=store.MAX_PAGE).jobs
        paused = store.paused_queues(db)
    if as_json:
        rows = [dataclasses.asdict(job) | {"run_dir": str(job.run_dir)} for job in jobs]
        out.print(json.dumps(rows, indent=2, default=str), markup=False)
        return
    if not jobs:
        out.print("nothing runs or waits. Put a training into the queue: slipstream queue add my_style.yaml")
    else:
        out.print(_table(jobs))
    for name in sorted(paused):
        out.print(f"[yellow]the queue {name} is paused[/yellow]: slipstream queue resume {name}")
    if any(job.state in ("queued", *ACTIVE) for job in jobs) and find_supervisor() is None:
        out.print("[yellow]no supervisor lives, so nothing starts[/yellow]: slipstream queue work")


def _table(jobs: tuple[Job, ...]) -> Table:
    table = Table(box=None, header_style="dim")
    for heading in ("job", "name", "state", "device", "step", "left", "what is to say"):
        table.add_column(heading)
    for job in jobs:
        progress = read_progress(job.run)
        steps = f"{progress.step}/{progress.steps}" if progress is not None and progress.steps else ""
        eta = None if progress is None or job.state != "running" else progress.eta_seconds
        colour = _COLOURS.get(job.state)
        state = f"[{colour}]{job.state}[/{colour}]" if colour else job.state
        message = job.message.partition("\n")[0]
        left = "" if eta is None else duration(eta)
        table.add_row(str(job.id), escape(job.name), state, job.device or job.queue, steps, left, escape(message))
    return table


def stop_command(job_id: int, *, now: bool) -> None:
    """Ask the job's worker to save and stop, or kill it."""
    with opened_queue() as db:
        job = control.kill(db, job_id) if now else control.stop(db, job_id)
    _tell(job)
    ensure_supervisor()


def pause_command(job_or_queue: str) -> None:
    """Pause a job, or a queue."""
    with opened_queue() as db:
        if job_or_queue.isdigit():
            _tell(control.pause(db, int(job_or_queue)))
            return
        control.pause_queue(db, _queue(job_or_queue))
    out.print(f"the queue {job_or_queue} starts nothing new; what runs goes on")


def resume_command(job_or_queue: str) -> None:
    """Resume a job, or a queue."""
    with opened_queue() as db:
        if job_or_queue.isdigit():
            _tell(control.resume(db, int(job_or_queue)))
        else:
            control.resume_queue(db, _queue(job_or_queue))
            out.print(f"the queue {job_or_queue} goes on")
    ensure_supervisor()


def _queue(name: str) -> str:
    known = (ANY, *queue_names(find_gpus()))
    if name not in known:
        raise JobError(f"{name!r} is neither a job's number nor a queue", fix=f"queues: {', '.join(known)}.")
    return name


def move_command(job_id: int, *, before: int | None, after: int | None, front: bool, back: bool) -> None:
    """Change a waiting job's place."""
    if sum((before is not None, after is not None, front, back)) != 1:
        raise JobError("where to?", where="queue move", fix="give one of --before JOB, --after JOB, --front, --back.")
    with opened_queue() as db:
        if front or back:
            control.move(db, job_id, to="front" if front else "back")
        else:
            control.move(db, job_id, before=before, after=after)
    list_command(everything=False, as_json=False)


def requeue_command(job_id: int, overrides: list[str], *, front: bool) -> None:
    """Put a job that has ended back, with settings over its own."""
    with opened_queue() as db:
        config_yaml = None
        if overrides:
            job = store.get(db, job_id)
            text = training_jobs.with_settings(job, overrides)
            config_yaml = training_jobs.edited_yaml(job, text).config_yaml
        _tell(control.requeue(db, job_id, config_yaml=config_yaml, front=front))
    ensure_supervisor()


def remove_command(job_id: int, *, files: bool) -> None:
    """Take a job out of the list, and its run folder from the disk if asked."""
    with opened_queue() as db:
        job = store.get(db, job_id)
        store.delete_job(db, job_id, files=files)
    rest = "deleted" if files else "stays"
    out.print(f"job {job_id} is out of the list; its run folder {rest}: {escape(str(job.run_dir))}")


def work_command(*, until_idle: bool, end: bool) -> int:
    """Be the supervisor, or end the one that lives; returns the exit code."""
    if end:
        lived = stop_supervisor()
        out.print("the supervisor ends; trainings go on" if lived else "no supervisor lives")
        return 0
    logging.basicConfig(level=logging.INFO, format="%(asctime)s  %(message)s")
    return serve(until_idle=until_idle)


def _tell(job: Job) -> None:
    out.print(f"[bold]job {job.id}[/bold]  {escape(job.name)} is {job.state}")

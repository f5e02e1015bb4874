"""The queue as its page shows it: a lane for each device with what runs and what waits there, and what has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slipstream.jobs import store
from slipstream.jobs.database import Database
from slipstream.jobs.job import ACTIVE, ANY, ENDED, WAITING, Job, State
from slipstream.runs.layout import RunDir
from slipstream.runs.progress import Progress, read_progress

Action = Literal["pause", "resume", "up", "down", "front", "edit", "stop", "kill", "requeue", "clone", "remove"]
MOST_WAITING = 500


@dataclass(frozen=True)
class JobCard:
    """A job on the page. `run` is the name of its run's page, None where the run lies elsewhere or is not made yet."""

    id: int
    name: str
    kind: str
    state: State
    queue: str
    device: str | None
    message: str
    created: float
    ended: float | None
    resumes: int
    run: str | None
    step: int = 0
    steps: int = 0
    phase: str = ""
    loss: float | None = None
    seconds_per_step: float | None = None
    eta_seconds: float | None = None


@dataclass(frozen=True)
class Lane:
    """The queue of a device, or of jobs that take any."""

    name: str
    paused: bool
    active: tuple[JobCard, ...]
    waiting: tuple[JobCard, ...]
    """In the order in which they are started."""


@dataclass(frozen=True)
class Board:
    """Everything on the page. Equal boards show the same page."""

    lanes: tuple[Lane, ...]
    ended: tuple[JobCard, ...]
    """The last ones first."""
    num_ended: int


def board(db: Database, runs_dir: Path, devices: Sequence[str], *, ended: int = 10) -> Board:
    """The queue as it is now.

    Args:
        db: the queue.
        runs_dir: the studio's folder of runs.
        devices: queues that have a lane though nothing is in them.
        ended: how many of those that have ended.
    """
    active = _cards(store.list_jobs(db, states=ACTIVE, limit=MOST_WAITING).jobs, runs_dir)
    waiting = _cards(store.list_jobs(db, states=WAITING, limit=MOST_WAITING).jobs, runs_dir)
    done = store.list_jobs(db, states=ENDED, order="newest", limit=ended)
    paused = store.paused_queues(db)
    names = dict.fromkeys((*devices, *(lane_of(card) for card in (*active, *waiting)), *sorted(paused)))
    lanes = (
        Lane(
            name,
            name in paused,
            tuple(card for card in active if lane_of(card) == name),
            tuple(card for card in waiting if lane_of(card) == name),
        )
        for name in sorted(names, key=_lane_order)
    )
    return Board(tuple(lanes), _cards(done.jobs, runs_dir), done.total)


@dataclass(frozen=True)
class Counts:
    """How much there is to do."""

    active: int
    waiting: int


def count(db: Database) -> Counts:
    """How many jobs are at work, and how many wait."""
    found = store.count_by_state(db)
    return Counts(sum(found.get(state, 0) for state in ACTIVE), sum(found.get(state, 0) for state in WAITING))


def lane_of(card: JobCard) -> str:
    """Where a job is shown: where its worker is, else where it wants to be."""
    return card.device if card.state in ACTIVE and card.device else card.queue


def _lane_order(name: str) -> tuple[int, int, str]:
    """GPUs by number, then the CPU, then jobs that take any device."""
    kind, _, number = name.partition(":")
    return {"gpu": 0, "cpu": 1, ANY: 2}.get(kind, 3), int(number) if number.isdecimal() else 0, name


def _cards(jobs: Sequence[Job], runs_dir: Path) -> tuple[JobCard, ...]:
    return tuple(_card(job, runs_dir) for job in jobs)


def _card(job: Job, runs_dir: Path) -> JobCard:
    run = RunDir(job.run_dir)
    shown = run.config.is_file() and run.path.parent.resolve() == runs_dir.resolve()
    progress = (read_progress(run) if shown else None) or Progress()
    return JobCard(
        id=job.id, name=job.name, kind=job.kind, state=job.state, queue=job.queue, device=job.device,
        message=job.message, created=job.created, ended=job.ended, resumes=job.resumes,
        run=run.name if shown else None, step=progress.step, steps=progress.steps, phase=progress.phase,
        loss=progress.loss, seconds_per_step=progress.seconds_per_step, eta_seconds=progress.eta_seconds,
    )  # fmt: skip


def actions_of(card: JobCard) -> tuple[Action, ...]:
    """What may be done with a job now, in the order of its buttons."""
    trains = card.kind == "train"
    copies: tuple[Action, ...] = ("clone",) if trains else ()
    edits: tuple[Action, ...] = ("edit",) if trains else ()
    if card.state in WAITING:
        turn: Action = "pause" if card.state == "queued" else "resume"
        return ("up", "down", turn, *edits, "front", *copies, "stop", "remove")
    if card.state in ("starting", "running"):
        return ("stop", *copies)
    if card.state == "stopping":
        return ("kill", *copies)
    return ("requeue", *edits, *copies, "remove")


def neighbours(lane: Lane, job_id: int) -> tuple[int | None, int | None]:
    """The waiting jobs right before and right after one in its lane."""
    numbers = [card.id for card in lane.waiting]
    if job_id not in numbers:
        return None, None
    place = numbers.index(job_id)
    return (numbers[place - 1] if place else None), (numbers[place + 1] if place + 1 < len(numbers) else None)

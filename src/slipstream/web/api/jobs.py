"""Jobs and queues: hand in, list, reorder, pause, stop, put back, copy, edit, delete.

SQLAlchemy is imported by the first request that needs it: the first page does not wait for it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from slipstream.jobs.job import Job, State
from slipstream.web.api.config import GivenConfig
from slipstream.web.services.queue import (
    QueueOverview,
    add_training,
    continue_run,
    overview,
    queue_of,
    studio_config,
)
from slipstream.web.services.runs import find_run
from slipstream.web.studio import Studio, StudioOfRequest

router = APIRouter(prefix="/api", tags=["jobs"])

MOST_ID = 2**31 - 1
Id = Annotated[int, Path(ge=1, le=MOST_ID, description="The job's number.")]
QueueName = Annotated[str, Path(pattern=r"^(any|cpu|gpu:\d{1,3})$")]
Queue = Annotated[str, Field(pattern=r"^(any|cpu|gpu:\d{1,3})$")]
Action = Literal["pause", "resume", "stop", "kill"]


class JobAnswer(BaseModel):
    """A job of the queue. Times are seconds since 1970."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    kind: str
    state: State
    position: int
    queue: str
    device: str | None
    run: str
    """The name of its run folder."""

    created: float
    started: float | None
    ended: float | None
    attempt: int
    resumes: int
    max_resumes: int
    exit_code: int | None
    message: str
    kill_at: float | None
    continues: bool
    parent_id: int | None
    payload: dict[str, Any]
    version: int


class JobList(BaseModel):
    """A page of jobs, how many there are, and the queue's version."""

    jobs: list[JobAnswer]
    total: int
    version: int


class NewTraining(GivenConfig):
    """A training to put into the queue: a config, and where."""

    queue: Queue | None = None
    paused: bool = False
    first: bool = False


class Continuation(BaseModel):
    """A run to go on with; with `steps` it trains up to so many."""

    model_config = ConfigDict(extra="forbid")

    run: str = Field(max_length=120)
    steps: int | None = Field(None, ge=1, le=10_000_000)
    queue: Queue | None = None


class Edit(BaseModel):
    """What to change of a waiting job; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    config_yaml: str | None = Field(None, max_length=100_000)
    queue: Queue | None = None
    max_resumes: int | None = Field(None, ge=0, le=100)


class Requeue(BaseModel):
    """How an ended job is put back."""

    model_config = ConfigDict(extra="forbid")

    front: bool = False
    paused: bool = False


class Clone(BaseModel):
    """How a job is copied: under this name, or the next that is free."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, min_length=1, max_length=100)
    paused: bool = True


class Move(BaseModel):
    """Where a waiting job goes: exactly one of the three."""

    model_config = ConfigDict(extra="forbid")

    before: int | None = Field(None, ge=1, le=MOST_ID)
    after: int | None = Field(None, ge=1, le=MOST_ID)
    to: Literal["front", "back"] | None = None

    @model_validator(mode="after")
    def _one(self) -> Move:
        if sum(value is not None for value in (self.before, self.after, self.to)) != 1:
            raise ValueError("give one of before, after, to")
        return self


@router.get("/queues")
def queues(studio: StudioOfRequest) -> QueueOverview:
    """Queues by device, how many jobs are in each state, and whether a supervisor is at work."""
    return overview(studio.settings)


@router.post("/queues/{name}/{action}", status_code=204, response_class=Response)
def control_queue(name: QueueName, action: Literal["pause", "resume"], studio: StudioOfRequest) -> None:
    """Let a queue start nothing new, or start jobs again; what runs goes on."""
    from slipstream.jobs import control

    act = control.pause_queue if action == "pause" else control.resume_queue
    act(queue_of(studio.settings), name)


@router.get("/jobs")
def jobs(
    studio: StudioOfRequest,
    state: Annotated[list[State] | None, Query(max_length=20)] = None,
    queue: Annotated[str | None, Query(max_length=20)] = None,
    kind: Annotated[str | None, Query(max_length=40)] = None,
    text: Annotated[str, Query(max_length=100, description="Only where the name holds this.")] = "",
    order: Annotated[Literal["queue", "newest"], Query()] = "queue",
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JobList:
    """Jobs in the queue's order, or the newest first."""
    from slipstream.jobs import store

    page = store.list_jobs(
        queue_of(studio.settings), states=state or (), queue=queue, kind=kind, text=text.replace("\0", ""),
        order=order, offset=offset, limit=limit,
    )  # fmt: skip
    return JobList(jobs=[_answer(job) for job in page.jobs], total=page.total, version=page.version)


@router.post("/jobs", status_code=201)
def add(new: NewTraining, studio: StudioOfRequest) -> JobAnswer:
    """Put a training into the queue."""
    config = studio_config(studio.settings, new.given())
    return _answer(add_training(studio.settings, config, queue=new.queue, paused=new.paused, first=new.first))


@router.post("/jobs/continue", status_code=201)
def go_on(how: Continuation, studio: StudioOfRequest) -> JobAnswer:
    """Go on with a run that has ended, from its newest checkpoint."""
    run = find_run(studio.settings.runs_dir, how.run)
    return _answer(continue_run(studio.settings, run.path, steps=how.steps, queue=how.queue))


@router.get("/jobs/{job_id}")
def job(job_id: Id, studio: StudioOfRequest) -> JobAnswer:
    """A job."""
    return _answer(_job(studio, job_id))


@router.get("/jobs/{job_id}/config", response_class=PlainTextResponse)
def job_config(job_id: Id, studio: StudioOfRequest) -> str:
    """A training job's config, as YAML."""
    return _job(studio, job_id).config_yaml


@router.patch("/jobs/{job_id}")
def edit(job_id: Id, change: Edit, studio: StudioOfRequest) -> JobAnswer:
    """Change a waiting training job."""
    from slipstream.jobs import training_jobs

    text = change.config_yaml
    config_yaml = None if text is None else training_jobs.dump_yaml(studio_config(studio.settings, text))
    changed = training_jobs.edit(
        queue_of(studio.settings), job_id, config_yaml=config_yaml, queue=change.queue, max_resumes=change.max_resumes
    )
    return _answer(changed)


@router.delete("/jobs/{job_id}", status_code=204, response_class=Response)
def delete(
    job_id: Id,
    studio: StudioOfRequest,
    files: Annotated[bool, Query(description="Delete its run folder too.")] = False,
) -> None:
    """Take a job that is not at work out of the list."""
    from slipstream.jobs import store

    store.delete_job(queue_of(studio.settings), job_id, files=files)


@router.post("/jobs/{job_id}/requeue")
def requeue(job_id: Id, how: Requeue, studio: StudioOfRequest) -> JobAnswer:
    """Put a job that has ended back: it goes on from its run's newest checkpoint."""
    from slipstream.jobs import control

    return _answer(control.requeue(queue_of(studio.settings), job_id, front=how.front, paused=how.paused))


@router.post("/jobs/{job_id}/clone", status_code=201)
def clone(job_id: Id, how: Clone, studio: StudioOfRequest) -> JobAnswer:
    """A new training job like another."""
    from slipstream.jobs import training_jobs

    return _answer(training_jobs.clone(queue_of(studio.settings), job_id, name=how.name, paused=how.paused))


@router.post("/jobs/{job_id}/move")
def move(job_id: Id, where: Move, studio: StudioOfRequest) -> JobAnswer:
    """Put a waiting job before or after another, or at an end."""
    from slipstream.jobs import control

    moved = control.move(
        queue_of(studio.settings), job_id, before=where.before, after=where.after, to=where.to
    )  # fmt: skip
    return _answer(moved)


@router.post("/jobs/{job_id}/{action}")
def act(job_id: Id, action: Action, studio: StudioOfRequest) -> JobAnswer:
    """Pause or resume a waiting job; let a worker save and stop, or end it at once."""
    from slipstream.jobs import control

    todo = {"pause": control.pause, "resume": control.resume, "stop": control.stop, "kill": control.kill}[action]
    return _answer(todo(queue_of(studio.settings), job_id))


def _job(studio: Studio, job_id: int) -> Job:
    from slipstream.jobs import store

    return store.get(queue_of(studio.settings), job_id)


def _answer(job: Job) -> JobAnswer:
    return JobAnswer.model_validate({**vars(job), "run": job.run_dir.name})

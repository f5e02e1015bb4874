"""A job as other rooms see it: plain frozen values, never rows of the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from slipstream.runs.layout import RunDir

State = Literal["queued", "paused", "starting", "running", "stopping", "finished", "stopped", "failed"]
STATES: tuple[State, ...] = ("queued", "paused", "starting", "running", "stopping", "finished", "stopped", "failed")
WAITING: tuple[State, ...] = ("queued", "paused")
ACTIVE: tuple[State, ...] = ("starting", "running", "stopping")
"""A worker is, or may be, at it."""
ENDED: tuple[State, ...] = ("finished", "stopped", "failed")

ANY = "any"
"""The queue of jobs that take the first device that is free."""
CPU = "cpu"


@dataclass(frozen=True)
class NewJob:
    """What is handed in. `run_dir` is absolute; one run folder belongs to one job."""

    name: str
    run_dir: Path
    kind: str = "train"
    config_yaml: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    queue: str = ANY
    paused: bool = False
    max_resumes: int = 1
    """How often it is taken up again by itself after its worker died without a result."""
    continues: bool = False
    """The run folder is there already and is gone on with."""
    parent_id: int | None = None


@dataclass(frozen=True)
class Job:
    """A row of the queue. Times are seconds since 1970."""

    id: int
    token: str
    """Never used twice, also by another database; with the attempt's number it marks a worker as this job's."""
    name: str
    kind: str
    payload: Mapping[str, Any]
    config_yaml: str
    state: State
    position: int
    """Lower is sooner. Comparable among all jobs, also of different queues."""
    queue: str
    """What was asked for: `any`, `cpu`, `gpu:0`, ..."""
    device: str | None
    """Where its worker runs or last ran: `cpu`, `gpu:0`, ..."""
    run_dir: Path
    created: float
    started: float | None
    ended: float | None
    attempt: int
    """The number of its newest worker; 0: none so far."""
    resumes: int
    """Automatic resumes since it was last put into the queue."""
    max_resumes: int
    exit_code: int | None
    """Of the last worker; negative: a signal; None where it died unseen."""
    message: str
    owner: str | None
    """The supervisor that watches its worker."""
    lease_expires: float | None
    heartbeat: float | None
    kill_at: float | None
    """From then on a worker that has not stopped is killed."""
    continues: bool
    parent_id: int | None
    version: int
    """The change of the queue by which the row became what it is (`store.version`)."""

    @property
    def run(self) -> RunDir:
        """The run folder and the files in it."""
        return RunDir(self.run_dir)

    @property
    def attempt_name(self) -> str:
        """How its newest worker signs what it writes."""
        return f"{self.token}-{self.attempt}"

    @property
    def active(self) -> bool:
        """Whether a worker is, or may be, at it."""
        return self.state in ACTIVE


@dataclass(frozen=True)
class JobPage:
    """Some of the jobs that were asked for, and how many there are."""

    jobs: tuple[Job, ...]
    total: int
    version: int

"""The ranking of a run's checkpoints: what was found, and a job of the queue that finds it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipstream.core.errors import JobError
from slipstream.runs.layout import RunDir
from slipstream.runs.progress import Progress, read_progress
from slipstream.runs.ranking import read_ranking
from slipstream.web.problems import RefusedError
from slipstream.web.services.checkpoints import list_checkpoints
from slipstream.web.services.queue import queue_of
from slipstream.web.settings import StudioSettings

if TYPE_CHECKING:
    from slipstream.jobs.job import Job

KIND = "rank"
_NEWEST = 200


@dataclass(frozen=True)
class RankedCheckpoint:
    """A checkpoint's figures, as the table shows them; shares from 0 to 1, drift by the meter's scale."""

    step: int
    strength: float
    drift: float
    light: str
    leak: float
    memorised: float
    score: float
    dominated: bool
    chosen: bool


@dataclass(frozen=True)
class RankingJob:
    """The newest ranking job of a run. `state` is the job's, `message` why it failed."""

    id: int
    state: str
    active: bool
    phase: str
    done: int
    total: int
    message: str


@dataclass(frozen=True)
class RankingLook:
    """What is known of a run's ranking. Equal looks show the same card.

    Attributes:
        rows: by step; none where nothing was ranked.
        step, weight: recommended.
        has_page: whether the page with the pictures lies in the run folder.
        newer: whether the run has checkpoints that were saved after it was ranked.
        job: the newest ranking job.
        num_checkpoints: how many could be ranked.
    """

    rows: tuple[RankedCheckpoint, ...]
    step: int | None
    weight: float | None
    has_page: bool
    newer: bool
    job: RankingJob | None
    num_checkpoints: int


def look_at_ranking(settings: StudioSettings, run: RunDir) -> RankingLook:
    """The ranking of a run as it stands now."""
    found = read_ranking(run)
    chosen = (found or {}).get("recommended") or {}
    rows = tuple(_row(values, chosen.get("step")) for values in (found or {}).get("checkpoints") or ())
    saved = {one.step for one in list_checkpoints(run) if one.step is not None}
    return RankingLook(
        rows=rows,
        step=chosen.get("step"),
        weight=chosen.get("weight"),
        has_page=run.ranking_page.is_file() and not run.ranking_page.is_symlink(),
        newer=bool(rows) and bool(saved - {row.step for row in rows}),
        job=_told(_newest(settings, run)),
        num_checkpoints=len(saved),
    )


def start_ranking(settings: StudioSettings, run: RunDir) -> RankingLook:
    """Put a ranking of the run into the queue.

    Raises:
        RefusedError: one is under way (409), or the run has no checkpoint (422).
        JobError: the queue cannot be opened.
    """
    from slipstream.jobs import store
    from slipstream.jobs.job import NewJob

    now = look_at_ranking(settings, run)
    if now.job is not None and now.job.active:
        raise RefusedError(409, "this run is being ranked", where=run.name, fix="wait for it, or stop it in the queue.")
    if not list_checkpoints(run):
        raise RefusedError(422, "there is nothing to rank yet", where=run.name, fix="wait for the first checkpoint.")
    home = settings.home.resolve() / "rankings"
    home.mkdir(parents=True, exist_ok=True)
    folder = home / f"{run.name}_{time.strftime('%Y%m%d_%H%M%S')}_{time.time_ns() % 1000:03d}"
    payload = {"run": str(run.path)}
    store.add(queue_of(settings), NewJob(name=f"rank {run.name}", run_dir=folder, kind=KIND, payload=payload))
    return look_at_ranking(settings, run)


def _newest(settings: StudioSettings, run: RunDir) -> Job | None:
    """The run's newest ranking job; a queue that cannot be opened has none, and its page says why."""
    from slipstream.jobs import store

    try:
        page = store.list_jobs(queue_of(settings), kind=KIND, order="newest", limit=_NEWEST)
    except JobError:
        return None
    return next((job for job in page.jobs if job.payload.get("run") == str(run.path)), None)


def _told(job: Job | None) -> RankingJob | None:
    from slipstream.jobs.job import ENDED

    if job is None:
        return None
    progress = read_progress(job.run) or Progress()
    return RankingJob(
        id=job.id, state=job.state, active=job.state not in ENDED, phase=progress.phase, done=progress.done,
        total=progress.total, message=job.message or progress.message,
    )  # fmt: skip


def _row(values: Mapping[str, Any], chosen: int | None) -> RankedCheckpoint:
    leaks = (values.get("leak_unrelated") or 0.0, values.get("leak_same") or 0.0)
    return RankedCheckpoint(
        step=int(values["step"]), strength=values["strength"], drift=values["drift"], light=values["light"],
        leak=max(0.0, *leaks), memorised=values["memorised"], score=values["score"], dominated=values["dominated"],
        chosen=values["step"] == chosen,
    )  # fmt: skip

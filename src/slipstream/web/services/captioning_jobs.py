"""Captioning a dataset as a job of the queue: started, watched, stopped, and taken back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream.captioning.request import CaptionRequest
from slipstream.captioning.work import pictures_to_caption, read_captioned
from slipstream.runs.progress import Progress, read_progress
from slipstream.web.problems import RefusedError, missing
from slipstream.web.services.caption_edits import CaptionChange, apply_changes
from slipstream.web.services.queue import queue_of
from slipstream.web.settings import StudioSettings

if TYPE_CHECKING:
    from slipstream.jobs.job import Job

KIND = "caption"
DIARY = "captioned.jsonl"
_NEWEST = 200


@dataclass(frozen=True)
class Captioning:
    """The newest captioning job of a dataset. `state` is the job's, `message` why it failed."""

    job: int
    state: str
    active: bool
    phase: str
    done: int
    total: int
    file: str
    eta_seconds: float | None
    written: int
    message: str


def start_captioning(settings: StudioSettings, request: CaptionRequest) -> Captioning:
    """Put a captioning job into the queue.

    Raises:
        RefusedError: one of this dataset is under way (409), or there is nothing to caption.
        DataError: the dataset has none of these pictures.
        JobError: the queue cannot be opened.
    """
    from slipstream.jobs import store
    from slipstream.jobs.job import NewJob

    folder = request.dataset
    require_no_captioning(settings, folder)
    if not pictures_to_caption(request):
        raise RefusedError(
            422, "every picture has a caption", where=folder.name, fix="let captions that are there be replaced."
        )
    home = settings.home.resolve() / "captioning"
    home.mkdir(parents=True, exist_ok=True)
    run_dir = home / f"{folder.name}_{time.strftime('%Y%m%d_%H%M%S')}_{time.time_ns() % 1000:03d}"
    job = store.add(
        queue_of(settings),
        NewJob(name=f"caption {folder.name}", run_dir=run_dir, kind=KIND, payload=request.to_json()),
    )
    return _told(job)


def captioning_of(settings: StudioSettings, folder: Path) -> Captioning | None:
    """How the newest captioning job of a dataset stands; None where there was none."""
    job = _newest(settings, folder)
    return None if job is None else _told(job)


def require_no_captioning(settings: StudioSettings, folder: Path) -> None:
    """Pass where no model is at work on a dataset, which therefore may be moved.

    Raises:
        RefusedError: one is (409).
    """
    now = captioning_of(settings, folder)
    if now is not None and now.active:
        raise RefusedError(409, "a model is captioning this dataset", where=folder.name, fix="stop it first.")


def stop_captioning(settings: StudioSettings, folder: Path) -> Captioning:
    """Ask the job to stop after the batch it is at; what is written stays.

    Raises:
        RefusedError: there is none (404).
        JobError: it has ended already.
    """
    from slipstream.jobs import control

    return _told(control.stop(queue_of(settings), _require(settings, folder).id))


def undo_captioning(settings: StudioSettings, folder: Path) -> int:
    """Give pictures the captions that they had before the newest job, unless they were edited since; how many.

    Raises:
        RefusedError: there is none (404), or it is still at work (409).
    """
    job = _require(settings, folder)
    if _told(job).active:
        raise RefusedError(409, "the model is still at work", where=folder.name, fix="stop it first.")
    done = [one for one in read_captioned(job.run_dir / DIARY) if not one.skipped]
    there = [one for one in done if (folder / one.file).is_file()]
    return len(apply_changes(folder, [CaptionChange(one.file, one.after, one.before or "") for one in there]))


def _require(settings: StudioSettings, folder: Path) -> Job:
    job = _newest(settings, folder)
    if job is None:
        raise missing("captioning job of this dataset", where=folder.name, fix="start one.")
    return job


def _newest(settings: StudioSettings, folder: Path) -> Job | None:
    from slipstream.jobs import store

    page = store.list_jobs(queue_of(settings), kind=KIND, order="newest", limit=_NEWEST)
    wanted = str(folder.resolve())
    return next((job for job in page.jobs if job.payload.get("dataset") == wanted), None)


def _told(job: Job) -> Captioning:
    from slipstream.jobs.job import ENDED

    progress = read_progress(job.run) or Progress()
    done = read_captioned(job.run_dir / DIARY)
    return Captioning(
        job=job.id,
        state=job.state,
        active=job.state not in ENDED,
        phase=progress.phase,
        done=len(done),
        total=max(progress.total, len(done)),
        file=progress.detail,
        eta_seconds=progress.eta_seconds,
        written=sum(not one.skipped for one in done),
        message=job.message or progress.message,
    )


def captioned_since(settings: StudioSettings, folder: Path, seen: int) -> Sequence[CaptionChange]:
    """What the newest job wrote after the first `seen` pictures, for a page that watches."""
    job = _newest(settings, folder)
    done = [] if job is None else read_captioned(job.run_dir / DIARY)[seen:]
    return [CaptionChange(one.file, one.before or "", one.after) for one in done if not one.skipped]

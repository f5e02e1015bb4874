"""A run and the queue: stopping it through its job, going on with it, and beginning another from one of its LoRAs."""

from __future__ import annotations

from collections.abc import Sequence

from slipstream.config.overrides import split_override
from slipstream.core.errors import JobError
from slipstream.reports.facts import read_text
from slipstream.runs.controls import Flag
from slipstream.runs.layout import RunDir
from slipstream.runs.progress import read_progress
from slipstream.web.services.checkpoints import checkpoint_path
from slipstream.web.services.drafts import save_draft
from slipstream.web.services.form.draft import changed
from slipstream.web.services.form.starting import as_copy, taken_names
from slipstream.web.services.queue import continue_run, queue_of
from slipstream.web.services.run_controls import ask
from slipstream.web.settings import StudioSettings


def ask_run(settings: StudioSettings, run: RunDir, flag: Flag) -> None:
    """Ask a running training for something; a stop goes through its job, where it has one, so that the queue knows.

    Raises:
        RefusedError: nobody trains it (409).
        JobError: its job has ended meanwhile.
    """
    from slipstream.jobs import control, store

    if flag == "stop":
        db = queue_of(settings)
        job = store.find_by_run(db, run.path)
        if job is not None and job.active:
            control.stop(db, job.id)
            return
    ask(run, flag)


def has_job(settings: StudioSettings, run: RunDir) -> bool:
    """Whether a job waits with this run, or works on it. A queue that cannot be opened has none; its page says why."""
    from slipstream.jobs import store
    from slipstream.jobs.job import ENDED

    try:
        job = store.find_by_run(queue_of(settings), run.path)
    except JobError:
        return False
    return job is not None and job.state not in ENDED


def steps_to_go_on(run: RunDir) -> int:
    """How many updates to suggest for a run that goes on: what it was meant to do, or half more where that is done."""
    progress = read_progress(run)
    if progress is None or not progress.steps:
        return 1000
    return progress.steps if progress.step < progress.steps else round(1.5 * progress.steps)


def go_on(settings: StudioSettings, run: RunDir, steps: int) -> int:
    """Put a run back into the queue to train up to so many updates; returns its job's number.

    Raises:
        JobError: a worker is at it, or waits to be.
        ConfigError: the number of steps is wrong.
    """
    return continue_run(settings, run.path, steps=steps, queue=None).id


def draft_with_settings(settings: StudioSettings, run: RunDir, overrides: Sequence[str]) -> str:
    """Keep a draft of a new job with the run's config and some settings changed; returns the draft's name.

    Raises:
        ConfigError: the run's config cannot be read.
    """
    draft = as_copy(read_text(run.config), taken_names(settings.runs_dir))
    for override in overrides:
        path, value = split_override(override)
        draft = changed(draft, path, value)
    name = f"try_{run.name}"[:100]
    save_draft(settings.home, name, draft.text)
    return name


def draft_from_checkpoint(settings: StudioSettings, run: RunDir, file: str) -> str:
    """Keep a draft of a new job with the run's config that starts from one of its LoRAs; returns the draft's name.

    Raises:
        RefusedError: there is no such file (404).
        ConfigError: the run's config cannot be read.
    """
    path = checkpoint_path(run, file)
    draft = as_copy(read_text(run.config), taken_names(settings.runs_dir))
    draft = changed(draft, "target.start_from", str(path))
    name = f"from_{path.stem}"[:100]
    save_draft(settings.home, name, draft.text)
    return name

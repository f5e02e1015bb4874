"""What is wrong with a draft: its settings, and what they name on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slipstream.core.errors import DataError, JobError
from slipstream.data.images import EXTENSIONS
from slipstream.data.listing import list_files
from slipstream.runs.create import has_results, run_called
from slipstream.web.services.configs import Checked, SettingProblem, check_config
from slipstream.web.services.form.draft import Draft
from slipstream.web.services.form.values import MISSING
from slipstream.web.services.new_jobs import job_of_run
from slipstream.web.settings import StudioSettings


def check_draft(settings: StudioSettings, draft: Draft, *, editing: int | None = None) -> Checked:
    """Every problem of a draft, one a setting, or the config and advice on it.

    `editing` is the job whose name and run folder are its own.
    """
    checked = check_config(draft.text, settings.datasets_dir)
    found: dict[str, SettingProblem] = {}
    for problem in (*_pictures(settings, draft), *checked.problems, *_name(settings, draft, editing)):
        found.setdefault(problem.path, problem)
    return Checked(not found, tuple(found.values()), checked.advice, checked.config, checked.yaml)


def _pictures(settings: StudioSettings, draft: Draft) -> Iterator[SettingProblem]:
    """Folders of pictures that are not chosen yet, not there, or empty."""
    rows = draft.given("datasets")
    if draft.unreadable is not None or rows in (MISSING, [], None):
        if draft.unreadable is None:
            yield SettingProblem("datasets", "no pictures are chosen", "add a dataset.")
        return
    for place, row in enumerate(rows if isinstance(rows, list) else []):
        given: Any = row.get("path", "") if isinstance(row, Mapping) else None
        path = f"datasets.{place}.path"
        if isinstance(given, str) and not given.strip():
            yield SettingProblem(path, "no pictures are chosen", "choose a dataset, or the folder with your pictures.")
        elif isinstance(given, str) and (problem := _folder_problem(settings.datasets_dir / Path(given).expanduser())):
            yield SettingProblem(path, problem, "choose another folder, or add pictures to it.")


def _folder_problem(folder: Path) -> str | None:
    try:
        if any(path.suffix.lower() in EXTENSIONS for path in list_files(folder)):
            return None
    except (DataError, OSError, ValueError) as error:
        return error.message if isinstance(error, DataError) else str(error)
    return "there are no pictures in this folder"


def _name(settings: StudioSettings, draft: Draft, editing: int | None) -> Iterator[SettingProblem]:
    """A name that another run or job has."""
    name, folder = draft.given("job.name"), draft.given("job.output_dir")
    if not isinstance(name, str) or not name.strip() or "/" in name or "\0" in name:
        return
    run = run_called(Path(folder) if isinstance(folder, str) else settings.runs_dir, name)
    try:
        job = job_of_run(settings, run.path)
        taken = job.id != editing if job is not None else run.path.is_dir() and has_results(run)
    except (JobError, OSError):  # handing over says so
        return
    if taken:
        owner = f"job {job.id}" if job is not None else "a run"
        yield SettingProblem("job.name", f"{owner} has this name already", "give another name; one name is one run.")

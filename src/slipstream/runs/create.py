"""Making and opening run folders. Nothing is ever overwritten: an earlier run is moved aside, not deleted."""

from __future__ import annotations

from pathlib import Path

from slipstream.core.atomic import write_text
from slipstream.core.errors import RunError
from slipstream.runs.layout import RunDir
from slipstream.runs.lock import require_idle
from slipstream.runs.progress import Progress, read_progress, write_progress


def create_run(output_dir: Path, name: str, config_yaml: str, *, fresh: bool = False) -> tuple[RunDir, Path | None]:
    """A new run folder with its config; with `fresh` an earlier one of that name is moved aside (second result).

    What a run that never came to a save left behind (previews at step 0, a log) is written over.

    Raises:
        RunError: the name is taken and `fresh` is off, or that run is being trained right now.
    """
    run = run_called(output_dir, name)
    try:
        moved = _make_room(run, fresh=fresh)
        run.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot make the run folder: {error}", where=str(run.path), fix="change job.output_dir or job.name."
        ) from error
    write_text(run.config, config_yaml)
    write_progress(run, Progress())
    return run, moved


def run_called(output_dir: Path, name: str) -> RunDir:
    """The folder of a run of this name, there or not."""
    return RunDir((output_dir.expanduser() / name).resolve())


def _make_room(run: RunDir, *, fresh: bool) -> Path | None:
    """Clear the folder of leftovers, or move it aside (returns where to)."""
    moved = None
    if run.path.exists() and any(run.path.iterdir()):
        require_idle(run)
        if not fresh and has_results(run):
            raise RunError(
                f"there is already a run called {run.name!r} ({_describe(run)})", where=str(run.path),
                fix=f"go on with it (`slipstream resume {run.path}`), give another job.name, "
                "or start anew with --fresh (the old one is moved aside, not deleted).",
            )  # fmt: skip
        moved = _move_aside(run) if has_results(run) else None
    events = run.tensorboard.glob("events.out.*")
    files = (run.metrics, run.phases, run.log, run.report, run.timings, run.manifest, run.worker)
    for leftover in (*run.previews.glob("*.png"), *events, *files):
        leftover.unlink(missing_ok=True)
    return moved


def has_results(run: RunDir) -> bool:
    """Whether anything was trained in the folder; one that failed before its first save may be used again.

    A folder that is no run at all counts as one with results, so that nothing foreign is written over.
    """
    return _is_foreign(run) or run.lora.exists() or any(run.checkpoints.glob("*"))


def _is_foreign(run: RunDir) -> bool:
    """A folder without a config, in which there is more than a door leaves that was killed before it wrote one."""
    return not run.config.is_file() and any(not _of_a_door(path.name) for path in run.path.iterdir())


def _of_a_door(name: str) -> bool:
    return name == ".lock" or (name.startswith(".") and name.endswith(".part"))


def open_run(path: Path) -> RunDir:
    """An existing run folder.

    Raises:
        RunError: it is none.
    """
    run = RunDir(path.expanduser().resolve())
    if not run.config.is_file():
        raise RunError(
            "this is no run folder (it has no config.yaml)", where=str(path),
            fix="give the folder of a run, such as runs/my_style.",
        )  # fmt: skip
    return run


def _describe(run: RunDir) -> str:
    """How it stands, told of a run that nobody trains: what still says `running` was killed."""
    progress = read_progress(run)
    if progress is None:
        return "not a finished run"
    state = "killed" if progress.state in ("created", "running") else progress.state
    return f"{state}, step {progress.step} of {progress.steps}"


def _move_aside(run: RunDir) -> Path:
    number = 1
    while (target := run.path.with_name(f"{run.name}~{number}")).exists():
        number += 1
    run.path.rename(target)
    return target

"""Making and opening run folders. Nothing is ever overwritten: an earlier run is moved aside, not deleted."""

from __future__ import annotations

from pathlib import Path

from slipstream.core.atomic import write_text
from slipstream.core.errors import RunError
from slipstream.runs.layout import RunDir
from slipstream.runs.lock import is_running
from slipstream.runs.progress import Progress, read_progress, write_progress


def create_run(output_dir: Path, name: str, config_yaml: str, *, fresh: bool = False) -> tuple[RunDir, Path | None]:
    """A new run folder with its config; with `fresh` an earlier one of that name is moved aside (second result).

    What a run that never came to a save left behind (previews at step 0, a log) is written over.

    Raises:
        RunError: the name is taken and `fresh` is off, or that run is being trained right now.
    """
    run = RunDir((output_dir / name).resolve())
    moved = None
    if run.path.exists() and any(run.path.iterdir()):
        _refuse_if_busy(run)
        if not fresh and has_results(run):
            raise RunError(
                f"there is already a run called {name!r} ({_describe(run)})", where=str(run.path),
                fix=f"go on with it (`slipstream resume {run.path}`), give another job.name, "
                "or start anew with --fresh (the old one is moved aside, not deleted).",
            )  # fmt: skip
        moved = _move_aside(run) if has_results(run) else None
    try:
        run.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot make the run folder: {error}", where=str(run.path), fix="change job.output_dir."
        ) from error
    for leftover in (*run.previews.glob("*.png"), run.metrics, run.log, run.report):
        leftover.unlink(missing_ok=True)
    write_text(run.config, config_yaml)
    write_progress(run, Progress())
    return run, moved


def has_results(run: RunDir) -> bool:
    """Whether anything was trained in the folder; one that failed before its first save may be used again.

    A folder that is no run at all counts as one with results, so that nothing foreign is written over.
    """
    return not run.config.is_file() or run.lora.exists() or any(run.checkpoints.glob("*"))


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


def require_idle(run: RunDir) -> None:
    """Raise where a worker is at it.

    Raises:
        RunError: the run is being trained right now.
    """
    _refuse_if_busy(run)


def _refuse_if_busy(run: RunDir) -> None:
    if is_running(run):
        raise RunError(
            f"a run called {run.name!r} is being trained right now", where=str(run.path),
            fix="wait for it or stop it (Ctrl+C where it runs), or give another job.name.",
        )  # fmt: skip


def _describe(run: RunDir) -> str:
    progress = read_progress(run)
    return f"{progress.state}, step {progress.step} of {progress.steps}" if progress else "not a finished run"


def _move_aside(run: RunDir) -> Path:
    number = 1
    while (target := run.path.with_name(f"{run.name}~{number}")).exists():
        number += 1
    run.path.rename(target)
    return target

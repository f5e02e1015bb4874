"""`stop`, `save`, `preview`: ask a running training for something from another terminal."""

from __future__ import annotations

import time
from pathlib import Path

from rich.markup import escape

from slipstream.cli.screen import out
from slipstream.core.errors import RunError
from slipstream.runs.controls import Flag, request
from slipstream.runs.create import open_run
from slipstream.runs.layout import RunDir
from slipstream.runs.lock import is_running
from slipstream.runs.progress import Progress, read_progress

_ASKED = {
    "stop": "asked to save and stop; go on later with: slipstream resume {run}",
    "save": "asked for a checkpoint after this update, in {run}/checkpoints",
    "preview": "asked for previews after this update, in {run}/previews",
}
_DONE = {"stop": "stopped", "save": "saved", "preview": "drawn"}
_POLL_SECONDS = 0.2


def control_command(path: Path, flag: Flag, *, wait: bool) -> int:
    """Set the flag for the run's worker, and with `wait` stay until it was followed; returns the exit code.

    Raises:
        RunError: it is no run, nobody trains it, or it has no prompts to draw.
    """
    run = open_run(path)
    if not is_running(run):
        raise RunError(
            f"no worker trains this run ({_state(run)}), so nobody would {flag}", where=str(path),
            fix=f"`slipstream resume {path}` goes on with it." if flag == "stop" else "`slipstream sample --lora "
            f"{path} ...` draws with what is saved, `slipstream resume {path}` goes on.",
        )  # fmt: skip
    if flag == "preview":
        _require_prompts(run)
    before = _mark(run, flag)
    request(run, flag)
    out.print(escape(_ASKED[flag].format(run=path)))
    return _wait(run, flag, before) if wait else 0


def _require_prompts(run: RunDir) -> None:
    from slipstream.config.run_config import config_from_run

    if not config_from_run(run.config).sample.prompts:
        raise RunError(
            "this run draws no previews: sample.prompts is empty", where=str(run.path),
            fix=f"stop it, give its config.yaml prompts, and resume: slipstream stop {run.path}",
        )  # fmt: skip


def _mark(run: RunDir, flag: Flag) -> tuple[str, int] | None:
    """The newest file that following the flag makes, with its time."""
    made = [run.contact_sheet] if flag == "preview" else sorted(run.checkpoints.glob("state_*.pt"))[-1:]
    return next(((path.name, path.stat().st_mtime_ns) for path in made if path.exists()), None)


def _wait(run: RunDir, flag: Flag, before: tuple[str, int] | None) -> int:
    while True:
        running = is_running(run)
        if (not running) if flag == "stop" else _mark(run, flag) != before:
            break
        if not running:
            raise RunError(
                f"the worker ended before it was {_DONE[flag]} ({_state(run)})", where=str(run.path),
                fix=f"see {run.log}.",
            )  # fmt: skip
        time.sleep(_POLL_SECONDS)
    word = _state(run) if flag == "stop" else f"{_DONE[flag]} after step {_progress(run).step}"
    out.print(f"[bold green]{escape(word)}[/bold green]")
    return 0


def _state(run: RunDir) -> str:
    """How the run stands, of one that nobody trains: what still says `running` was killed."""
    progress = _progress(run)
    state = "killed" if progress.state == "running" else progress.state
    return f"{state}, step {progress.step} of {progress.steps}"


def _progress(run: RunDir) -> Progress:
    return read_progress(run) or Progress()

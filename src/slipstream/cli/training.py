"""`train` and `resume`: make or open a run, start a worker, show it, say what came of it."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType

from rich.markup import escape

from slipstream.cli.screen import out, show_failure
from slipstream.cli.watch import Watcher
from slipstream.launch.local import LocalWorker, start_worker
from slipstream.runs.create import create_run, open_run, require_idle
from slipstream.runs.exit_codes import FAILED, FINISHED, STOPPED
from slipstream.runs.layout import RunDir
from slipstream.runs.progress import Progress, read_progress, write_progress

INTERRUPTED = 130


def train_command(config_path: Path, overrides: list[str], *, fresh: bool) -> int:
    """Train a config; returns the exit code."""
    from slipstream.config.advice import advise
    from slipstream.config.run_config import dump_yaml, load_config

    config = load_config(config_path, overrides)
    run, moved = create_run(Path(config.job.output_dir), config.job.name, dump_yaml(config), fresh=fresh)
    if moved is not None:
        out.print(f"[yellow]the earlier run was moved to {moved}[/yellow]")
    for line in advise(config, None):
        out.print(f"[yellow]advice[/yellow]  {escape(line)}")
    return _work(run)


def resume_command(path: Path) -> int:
    """Go on with a run; returns the exit code."""
    run = open_run(path)
    require_idle(run)
    progress = read_progress(run)
    if progress is not None and progress.state == "finished":
        out.print(
            f"{run.path} is finished ({progress.step} steps). To train longer, raise training.steps in its config.yaml "
            "and resume again."
        )
        if not _wants_more(run, progress):
            return FINISHED
    return _work(run)


def _wants_more(run: RunDir, progress: Progress) -> bool:
    from slipstream.config.run_config import config_from_run

    return config_from_run(run.config).training.steps > progress.step


def _work(run: RunDir) -> int:
    out.print(f"[bold]{escape(run.name)}[/bold]  {escape(str(run.path))}")
    write_progress(run, Progress())
    log_start = run.log.stat().st_size if run.log.exists() else 0
    worker = start_worker(run)
    code = _follow(run, worker, log_start)
    return _tell(run, code)


def _follow(run: RunDir, worker: LocalWorker, log_start: int) -> int:
    """Show the worker until it ends; the first Ctrl+C asks it to save and stop, the third kills it."""
    asked = 0
    asking = threading.Lock()

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        with asking:
            asked += 1
        if asked >= 3:
            worker.kill()
        elif asked == 1:
            worker.ask_to_stop()

    before = {name: signal.signal(name, on_signal) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        with Watcher(run, log_start) as watcher:
            while (code := worker.wait(0.15)) is None:
                watcher.refresh(stopping=asked > 0)
            watcher.refresh(stopping=asked > 0)
        return code
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _tell(run: RunDir, code: int) -> int:
    progress = read_progress(run) or Progress()
    if code == FINISHED:
        out.print(f"[bold green]finished[/bold green]  {progress.step} steps, loss {_loss(progress)}")
        for what, path in (("LoRA", run.lora), ("previews", run.contact_sheet), ("report", run.report)):
            if path.exists():
                out.print(f"  {what:9} {escape(str(path))}")
        return FINISHED
    if code == STOPPED:
        out.print(
            f"[bold yellow]stopped[/bold yellow]  after step {progress.step} of {progress.steps}, everything is saved. "
            f"Go on with: slipstream resume {escape(str(run.path))}"
        )
        return INTERRUPTED
    show_failure(progress.message or f"the worker ended with code {code}; its log is {run.log}")
    return code if code > 0 else FAILED


def _loss(progress: Progress) -> str:
    return "?" if progress.loss is None else f"{progress.loss:.4f}"

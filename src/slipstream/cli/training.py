"""`train` and `resume`: make or open a run, start a worker, show it, say what came of it."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.markup import escape

from slipstream.cli.gpu_room import ask_for_gpu
from slipstream.cli.screen import out, show_failure
from slipstream.cli.watch import Watcher
from slipstream.core.errors import ConfigError
from slipstream.jobs.places import home_dir
from slipstream.launch.local import LocalWorker, start_worker
from slipstream.runs.create import create_run, open_run, run_called
from slipstream.runs.exit_codes import FAILED, FINISHED, STOPPED
from slipstream.runs.layout import RunDir
from slipstream.runs.lock import door_lock, is_running, require_idle
from slipstream.runs.progress import Progress, read_progress, write_progress

INTERRUPTED = 130
KILL_AT = 3
"""The number of the Ctrl+C that does not wait any longer."""


class Interrupts:
    """How often Ctrl+C was pressed (or SIGTERM came) while a run is shown."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count instead of ending the command, for the length of a block."""

        def on_signal(number: int, frame: FrameType | None) -> None:
            self.count += 1

        before = {name: signal.signal(name, on_signal) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)


def train_command(config_path: Path, overrides: list[str], *, fresh: bool) -> int:
    """Train a config; returns the exit code."""
    from slipstream.cli.imports import open_and_tell
    from slipstream.config.advice import advise
    from slipstream.config.run_config import dump_yaml

    config = open_and_tell(config_path, overrides)
    output_dir, name = Path(config.job.output_dir), config.job.name
    with door_lock(run_called(output_dir, name)):
        run, moved = create_run(output_dir, name, dump_yaml(config), fresh=fresh)
        if moved is not None:
            out.print(f"[yellow]the earlier run was moved to {escape(str(moved))}[/yellow]")
        for line in advise(config, None):
            out.print(f"[yellow]advice[/yellow]  {escape(line)}")
        return _work(run, config.job.device)


def resume_command(path: Path, overrides: list[str]) -> int:
    """Go on with a run, with settings over its own where given; returns the exit code."""
    run = open_run(path)
    with door_lock(run):
        require_idle(run)
        if overrides:
            _change(run, overrides)
        progress = read_progress(run)
        if progress is not None and progress.state == "finished" and not _wants_more(run, progress):
            out.print(
                f"{escape(str(run.path))} is finished ({progress.step} steps). To train longer: "
                f"slipstream resume {escape(str(run.path))} training.steps={2 * progress.step}"
            )
            return FINISHED
        from slipstream.config.run_config import config_from_run

        return _work(run, config_from_run(run.config).job.device)


def _change(run: RunDir, overrides: list[str]) -> None:
    """Write settings into the run's config.

    Raises:
        ConfigError: a setting is wrong, or it is the run's name or place, which its folder decides.
    """
    from slipstream.config.overrides import split_override
    from slipstream.config.run_config import dump_yaml, load_config
    from slipstream.core.atomic import write_text

    fixed = {"job", "job.name", "job.output_dir"} & {split_override(override)[0] for override in overrides}
    if fixed:
        raise ConfigError(
            "a run keeps its name and place", where=f"override {min(fixed)}",
            fix="copy its folder, or train its config.yaml under another job.name.",
        )  # fmt: skip
    write_text(run.config, dump_yaml(load_config(run.config, overrides)))


def _wants_more(run: RunDir, progress: Progress) -> bool:
    from slipstream.config.run_config import config_from_run

    return config_from_run(run.config).training.steps > progress.step


def _work(run: RunDir, device: str) -> int:
    out.print(f"[bold]{escape(run.name)}[/bold]  {escape(str(run.path))}")
    ask_for_gpu(device, home_dir())
    before = read_progress(run) or Progress()
    write_progress(run, Progress(step=before.step, steps=before.steps))
    log_start = run.log.stat().st_size if run.log.exists() else 0
    interrupts = Interrupts()
    with interrupts.counted():
        worker = start_worker(run)
        code = _follow(run, worker, interrupts, log_start)
        return _tell(run, code, interrupted=interrupts.count > 0)


def _follow(run: RunDir, worker: LocalWorker, interrupts: Interrupts, log_start: int) -> int:
    """Show the worker until it ends; the first Ctrl+C asks it to save and stop, the third kills it."""
    answered = 0
    with Watcher(run, log_start) as watcher:
        while (code := worker.wait(0.15)) is None:
            if (count := interrupts.count) > answered:
                _pass_on(worker, count, first=answered == 0)
                answered = count
            watcher.refresh(stopping=answered > 0)
        watcher.refresh(stopping=answered > 0)
    return code


def _pass_on(worker: LocalWorker, count: int, *, first: bool) -> None:
    if count >= KILL_AT:
        worker.kill()
    elif first:
        worker.ask_to_stop()
        out.print("[yellow]saving and stopping[/yellow]")
    else:
        out.print(
            "[yellow]still saving and stopping[/yellow]: once more kills it and loses what came after the last save"
        )


def _tell(run: RunDir, code: int, *, interrupted: bool) -> int:
    progress = read_progress(run) or Progress()
    if code == FINISHED:
        out.print(f"[bold green]finished[/bold green]  {progress.step} steps, loss {_loss(progress)}")
        for what, path in (("LoRA", run.lora), ("previews", run.contact_sheet), ("report", run.report)):
            if path.exists():
                out.print(f"  {what:9} {escape(str(path))}")
        return FINISHED
    resume = f"Go on with: slipstream resume {escape(str(run.path))}"
    if code == STOPPED:
        saved = f"after step {progress.step} of {progress.steps}, everything is saved"
        place = saved if progress.step else "before the first step"
        out.print(f"[bold yellow]stopped[/bold yellow]  {place}. {resume}")
        return INTERRUPTED
    if interrupted and code < 0:
        _close(run, dataclasses.replace(progress, state="stopped"))
        out.print(f"[bold yellow]ended[/bold yellow]  before it could save; what was saved earlier is whole. {resume}")
        return INTERRUPTED
    if progress.state != "failed":
        progress = dataclasses.replace(progress, state="failed", message=_silent_end(run, code))
        _close(run, progress)
    show_failure(progress.message)
    return code if code > 0 else FAILED


def _close(run: RunDir, progress: Progress) -> None:
    """Write the end of a worker that could not do it itself, unless another one is at the run."""
    if not is_running(run):
        write_progress(run, progress)


def _silent_end(run: RunDir, code: int) -> str:
    if code == -signal.SIGKILL:
        return (
            "the training was killed from outside, most often by the system because memory ran out\n  fix: free memory "
            f"(lower training.batch_size or the resolutions), then `slipstream resume {run.path}`."
        )
    return f"the worker ended with code {code}; its log is {run.log}"


def _loss(progress: Progress) -> str:
    return "?" if progress.loss is None else f"{progress.loss:.4f}"

"""Runs as lists and pages show them. A run is a folder in the studio's runs folder; its name is its id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from slipstream.reports.facts import lora_to_use, phases, read_object
from slipstream.runs.create import open_run
from slipstream.runs.layout import RunDir
from slipstream.runs.lock import is_running
from slipstream.runs.phases import PhaseSpan, read_phases
from slipstream.runs.progress import Progress, read_progress
from slipstream.web.problems import missing
from slipstream.web.services.metric_rows import MetricFiles
from slipstream.web.services.places import child

State = Literal["created", "running", "finished", "stopped", "failed", "killed"]


@dataclass(frozen=True)
class RunSummary:
    """A run in a list. `state` is `killed` where it says that it runs and nobody trains it."""

    name: str
    state: State
    phase: str
    step: int
    steps: int
    loss: float | None
    seconds_per_step: float | None
    eta_seconds: float | None
    memory_gib: float | None
    message: str
    changed: float
    """Seconds since 1970."""
    has_lora: bool


@dataclass(frozen=True)
class RunDetail:
    """A run on its own page: the summary, where it stands within its phase, and what it was made of."""

    summary: RunSummary
    folder: str
    learning_rate: float | None
    phase_done: int
    phase_total: int
    phase_unit: str
    phase_detail: str
    prompts: tuple[str, ...]
    num_checkpoints: int
    lora: str | None
    """The finished LoRA, else the newest checkpoint, as a path from the run folder."""
    manifest: dict[str, Any]


@dataclass(frozen=True)
class RunPhases:
    """How a run's time was spent: every phase as it came, and seconds by name over all workers."""

    spans: tuple[PhaseSpan, ...]
    seconds: dict[str, float]


def list_runs(runs_dir: Path) -> list[RunSummary]:
    """All runs of the folder, the last changed first; links and hidden folders are left out."""
    try:
        folders = [path for path in runs_dir.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:
        return []
    runs = [RunDir(path) for path in folders if not path.name.startswith(".") and (path / "config.yaml").is_file()]
    return sorted((summarize(run) for run in runs), key=lambda one: (-one.changed, one.name))


def find_run(runs_dir: Path, name: str) -> RunDir:
    """The run of that name.

    Raises:
        RefusedError: there is none (404).
    """
    path = child(runs_dir, name, "run")
    if not (path / "config.yaml").is_file():
        raise missing("run of this name", where=name, fix="see the list of runs.")
    return open_run(path)


def summarize(run: RunDir) -> RunSummary:
    """How a run stands."""
    progress = read_progress(run) or Progress()
    return RunSummary(
        name=run.name,
        state=run_state(run, progress),
        phase=progress.phase,
        step=progress.step,
        steps=progress.steps,
        loss=progress.loss,
        seconds_per_step=progress.seconds_per_step,
        eta_seconds=progress.eta_seconds,
        memory_gib=progress.memory_gib,
        message=progress.message,
        changed=_changed(run),
        has_lora=run.lora.is_file(),
    )


def run_state(run: RunDir, progress: Progress) -> State:
    """What the progress file says, unless it says `running` and no worker holds the run."""
    if progress.state == "running" and not is_running(run):
        return "killed"
    return progress.state


def describe(run: RunDir) -> RunDetail:
    """A run in detail."""
    progress = read_progress(run) or Progress()
    manifest = read_object(run.manifest)
    sample = manifest.get("sample") or {}
    return RunDetail(
        summary=summarize(run),
        folder=str(run.path),
        learning_rate=progress.learning_rate,
        phase_done=progress.done,
        phase_total=progress.total,
        phase_unit=progress.unit,
        phase_detail=progress.detail,
        prompts=tuple(str(prompt) for prompt in sample.get("prompts") or ()),
        num_checkpoints=sum(1 for _ in run.checkpoints.glob("*.safetensors")),
        lora=lora_to_use(run),
        manifest=manifest,
    )


def phases_of(run: RunDir, metrics: MetricFiles) -> RunPhases:
    """A run's phases."""
    timings: Mapping[str, Any] = read_object(run.timings)
    seconds = {phase.name: phase.seconds for phase in phases(timings, metrics.rows(run.metrics))}
    return RunPhases(tuple(read_phases(run.phases)), seconds)


def _changed(run: RunDir) -> float:
    for path in (run.progress, run.config, run.path):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0

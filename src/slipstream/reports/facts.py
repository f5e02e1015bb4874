"""A run's figures in words: what the top of a report shows. Whatever a stopped run lacks is left out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipstream.reports.curves import smoothed, smoothing_window
from slipstream.runs.layout import RunDir

_TRAINING = "training"
_MIB = 1024**2


@dataclass(frozen=True)
class Tile:
    """One figure: what it is, its value, and a remark."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Phase:
    """One stretch of a run's time. `percent` is its share of the whole."""

    name: str
    seconds: float
    percent: float

    @property
    def duration(self) -> str:
        """The time in words."""
        return duration(self.seconds)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one where the file is missing or cannot be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def read_text(path: Path) -> str:
    """A text file, or nothing where it is missing."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def duration(seconds: float) -> str:
    """A time in words: `0.42 s`, `12.3 s`, `4 min 05 s`, `3 h 12 min`."""
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def column(rows: Sequence[Mapping[str, float]], key: str) -> list[float]:
    """The finite values of one metric, in order."""
    values = (row.get(key) for row in rows)
    return [value for value in values if isinstance(value, int | float) and math.isfinite(value)]


def phases(timings: Mapping[str, Any], rows: Sequence[Mapping[str, float]]) -> list[Phase]:
    """The phases of a run. Training counts every update of `metrics.jsonl`, an earlier worker's too."""
    seconds = {name: float(value) for name, value in timings.items() if isinstance(value, int | float)}
    if steps := column(rows, "seconds"):
        seconds[_TRAINING] = max(seconds.get(_TRAINING, 0.0), math.fsum(steps))
    seconds = {name: value for name, value in seconds.items() if value > 0 and math.isfinite(value)}
    whole = math.fsum(seconds.values())
    return [Phase(name, value, 100 * value / whole) for name, value in seconds.items()]


def lora_to_use(run: RunDir) -> str | None:
    """The finished LoRA, else the newest checkpoint, as a path from the run folder; None where nothing was saved."""
    files = [run.lora] if run.lora.is_file() else sorted(run.checkpoints.glob("*.safetensors"))
    return files[-1].relative_to(run.path).as_posix() if files else None


def tiles(
    run: RunDir,
    manifest: Mapping[str, Any],
    progress: Mapping[str, Any],
    rows: Sequence[Mapping[str, float]],
    spent: Sequence[Phase],
) -> list[Tile]:
    """The figures on top of the page, those that are known."""
    dataset, lora = manifest.get("dataset") or {}, manifest.get("lora") or {}
    found: list[Tile] = []
    if steps := progress.get("steps"):
        found.append(Tile("Updates", f"{progress.get('step', 0)}", f"of {steps}"))
    if images := dataset.get("num_images"):
        found.append(Tile("Images", f"{images}", _examples(images, dataset)))
    if losses := column(rows, "loss"):
        window = smoothing_window(len(losses))
        found.append(
            Tile(
                "Final loss",
                f"{smoothed(losses, window)[-1]:.4f}",
                f"mean of about the last {window}" if window > 1 else "of the last update",
            )
        )
    if spent:
        found.append(Tile("Time", duration(math.fsum(phase.seconds for phase in spent))))
    if pace := progress.get("seconds_per_step"):
        found.append(Tile("Speed", f"{pace:.3g} s", "an update"))
    if memory := progress.get("memory_gib"):
        found.append(Tile("Peak memory", f"{memory:.2f} GiB"))
    if lora.get("rank"):
        found.append(Tile("LoRA rank", f"{lora['rank']}", f"alpha {lora.get('alpha', lora['rank']):g}"))
    if run.lora.is_file():
        found.append(Tile("LoRA file", f"{run.lora.stat().st_size / _MIB:.1f} MiB", run.lora.name))
    return found


def _examples(images: int, dataset: Mapping[str, Any]) -> str:
    """What becomes of the images: with several resolutions an image counts in each."""
    examples, buckets = dataset.get("num_examples"), len(dataset.get("buckets") or [])
    if examples and examples != images:
        return f"{examples} examples, one for each resolution"
    return f"in {buckets} bucket{'s' if buckets > 1 else ''}" if buckets else ""

"""`progress.json`: where a run stands, for whoever watches."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal

from slipstream.core.atomic import write_json
from slipstream.runs.layout import RunDir

MIB = "MiB"
State = Literal["created", "running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class Progress:
    """A run's state. `done` of `total` counts within `phase`, in `unit` ("MiB", or "" for things), and `detail` says
    where the next of them is; `step` of `steps` counts updates."""

    state: State = "created"
    phase: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    detail: str = ""
    step: int = 0
    steps: int = 0
    loss: float | None = None
    learning_rate: float | None = None
    seconds_per_step: float | None = None
    eta_seconds: float | None = None
    memory_gib: float | None = None
    message: str = ""
    """The error of a failed run, as a door prints it."""


def counted(progress: Progress) -> str:
    """How far the phase is, in words: `3/8`, or `2.4/11.5 GiB`."""
    if progress.unit == MIB:
        return f"{progress.done / 1024:.1f}/{progress.total / 1024:.1f} GiB"
    return f"{progress.done}/{progress.total}"


def write_progress(run: RunDir, progress: Progress) -> None:
    """Replace `progress.json` (not flushed to the disk: it is written several times a second)."""
    write_json(run.progress, dataclasses.asdict(progress), durable=False)


def read_progress(run: RunDir) -> Progress | None:
    """The last state written, or None where there is none that can be read."""
    try:
        values = json.loads(run.progress.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = {field.name for field in dataclasses.fields(Progress)}
    return Progress(**{key: value for key, value in values.items() if key in known})

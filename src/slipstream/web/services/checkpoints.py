"""The LoRA files of a run: the finished one and checkpoints by step."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from slipstream.runs.layout import RunDir
from slipstream.runs.lock import is_running
from slipstream.runs.validation import best_row, read_rows
from slipstream.web.problems import RefusedError, missing

_STEP = re.compile(r"_(\d{9})\.safetensors$")
_STATE = re.compile(r"state_(\d{9})\.pt")


@dataclass(frozen=True)
class Checkpoint:
    """A LoRA file. `step` is None for the finished LoRA; `resumable`: training can go on from this step."""

    file: str
    step: int | None
    size_bytes: int
    changed: float
    resumable: bool
    best: bool
    """Whether its step had the lowest validation loss."""


def list_checkpoints(run: RunDir) -> list[Checkpoint]:
    """The finished LoRA first, then checkpoints from the newest to the oldest."""
    states = {int(found[1]) for path in run.checkpoints.glob("*.pt") if (found := _STATE.fullmatch(path.name))}
    best = best_row(read_rows(run.validation))
    best_step = None if best is None else int(best["step"])
    listed = [_checkpoint(path, states, best_step) for path in _files(run)]
    return sorted((one for one in listed if one is not None), key=_newest_first)


def _files(run: RunDir) -> list[Path]:
    paths = [*([run.lora] if run.lora.exists() else []), *run.checkpoints.glob("*.safetensors")]
    return [path for path in paths if not path.is_symlink() and not path.name.startswith(".")]


def _checkpoint(path: Path, states: set[int], best_step: int | None) -> Checkpoint | None:
    try:
        stat = path.stat()
    except OSError:  # pruned since it was listed
        return None
    step = int(found[1]) if path.parent.name == "checkpoints" and (found := _STEP.search(path.name)) else None
    return Checkpoint(
        path.name, step, stat.st_size, stat.st_mtime, step in states, step is not None and step == best_step
    )


def _newest_first(one: Checkpoint) -> tuple[bool, int]:
    return one.step is not None, -(one.step or 0)


def checkpoint_path(run: RunDir, file: str) -> Path:
    """The LoRA file of that name, one of those in the list.

    Raises:
        RefusedError: there is none (404).
    """
    path = next((path for path in _files(run) if path.name == file), None)
    if path is None:
        raise missing("LoRA of this name in the run", where=file[:120], fix="see the run's list of checkpoints.")
    return path


def delete_checkpoint(run: RunDir, file: str) -> None:
    """Remove a LoRA file, and the training state of its step.

    Raises:
        RefusedError: there is none (404), or the run is being trained and would need it (409).
    """
    path = checkpoint_path(run, file)
    newest = next((one.file for one in list_checkpoints(run) if one.step is not None), None)
    if path.name == newest and is_running(run):
        raise RefusedError(
            409, "the run is being trained, and this is its newest checkpoint", where=file,
            fix="stop the run first, or delete an older one.",
        )  # fmt: skip
    path.unlink(missing_ok=True)
    if (found := _STEP.search(path.name)) and path.parent == run.checkpoints:
        (run.checkpoints / f"state_{found[1]}.pt").unlink(missing_ok=True)

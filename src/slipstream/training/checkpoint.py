"""Checkpoints: the LoRA a user can take away, and the state from which training goes on bit for bit.

`checkpoints/<name>_000000250.safetensors` is the LoRA after 250 updates (the EMA shadow where EMA is on) and
`checkpoints/state_000000250.pt` the raw LoRA, EMA, optimizer and step. Both are written atomically before anything old
is removed, so a full disk or a kill leaves the last checkpoint whole.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from slipstream.adapters.branches import BranchSet, beyond_range
from slipstream.adapters.files import load_lora, save_lora
from slipstream.core.atomic import atomic_path
from slipstream.core.errors import AdapterError, RunError
from slipstream.training.ema import Ema
from slipstream.training.gradients import FlatGradients
from slipstream.training.optimizer_state import averaged, optimizer_misfit, pack_optimizer, restore_optimizer

_STATE = re.compile(r"state_(\d{9})\.pt$")
_PARTS = {"step", "lora", "optimizer", "ema", "skipped_in_a_row"}
_LATER_PARTS = {"rate_factor", "ended_early"}
"""What states of earlier versions lack."""
_LASTING = {
    "adapter_type": "target.type",
    "alpha": "target.alpha",
    "base_model_hash": "the base model",
    "training_adapter_hash": "the training adapter",
    "dataset_fingerprint": "the dataset",
}
"""Metadata that is expected to stay as it is through a run."""


@dataclass
class TrainingState:
    """All that changes while training. `step` counts finished updates, skipped ones too; `skipped_in_a_row` those
    that were skipped since the last one that was not; `rate_factor` is what the drift guard has made of the learning
    rate, and `ended_early` whether it has ended the training."""

    lora: BranchSet
    optimizer: torch.optim.Optimizer
    ema: Ema | None
    step: int = 0
    skipped_in_a_row: int = 0
    rate_factor: float = 1.0
    ended_early: bool = False
    gradients: FlatGradients = field(init=False)

    def __post_init__(self) -> None:
        self.gradients = FlatGradients(self.lora.parameters())

    def as_used(self) -> contextlib.AbstractContextManager[None]:
        """The weights that previews and files hold: the EMA shadow where EMA is on, else a schedule-free optimizer's
        average, else the weights themselves."""
        return self.ema.swapped() if self.ema is not None else averaged(self.optimizer)


@dataclass(frozen=True)
class CheckpointPolicy:
    """Where and how checkpoints are written, and which stay.

    The newest `keep` LoRAs stay (0 = all), and besides them those whose step is a multiple of `keep_every` (0 = none).
    """

    folder: Path
    name: str
    dtype: torch.dtype
    keep: int
    keep_every: int = 0


def lora_path(policy: CheckpointPolicy, step: int) -> Path:
    """The LoRA file of a label: N means N updates."""
    return policy.folder / f"{policy.name}_{step:09d}.safetensors"


def save_checkpoint(
    policy: CheckpointPolicy, state: TrainingState, metadata: Mapping[str, str], *, spared: int | None = None
) -> Path:
    """Write LoRA and state, then prune all but the newest and the LoRA of step `spared`; returns the LoRA's path.

    Raises:
        DiskFullError: no space; the previous checkpoint is untouched.
    """
    policy.folder.mkdir(parents=True, exist_ok=True)
    path = lora_path(policy, state.step)
    export_lora(path, policy.dtype, state, metadata)
    with atomic_path(policy.folder / f"state_{state.step:09d}.pt") as temporary, temporary.open("wb") as handle:
        torch.save(_pack(state), handle)  # a handle, because torch's own file writer hides a full disk
    _prune(policy, spared)
    return path


def export_lora(path: Path, dtype: torch.dtype, state: TrainingState, metadata: Mapping[str, str]) -> None:
    """Write the LoRA as it is used, without the training adapter."""
    with state.as_used():
        save_lora(path, state.lora, dtype, {**metadata, "steps": str(state.step)})


def range_warning(state: TrainingState, dtype: torch.dtype) -> str | None:
    """What a file of this dtype cannot hold of the LoRA, in a sentence; None where it holds all."""
    with state.as_used():
        names = beyond_range(state.lora, dtype)
    if not names:
        return None
    count, largest = len(state.lora.branches), torch.finfo(dtype).max
    return (
        f"warning: {len(names)} of {count} modules hold values beyond {largest:,.0f}, the largest of save.dtype, such "
        f"as {names[0]}: the file has them cut off there. bf16 could hold them."
    )


def restore(policy: CheckpointPolicy, state: TrainingState) -> int:
    """Load the newest state into `state`; returns its step (0 where there is none).

    Raises:
        RunError: the newest state is damaged (going on from an older one would silently repeat updates, so the user
            decides), or does not fit the run's LoRA (the config was changed).
    """
    files = sorted((p for p in policy.folder.glob("state_*.pt") if _STATE.search(p.name)), reverse=True)
    if not files:
        return 0
    _unpack(_read(files[0]), state, files[0])
    return state.step


def newest_step(folder: Path) -> int:
    """The step of the newest state in a folder, 0 where there is none, seen from the file names."""
    return max((int(found[1]) for path in folder.glob("state_*.pt") if (found := _STATE.search(path.name))), default=0)


def changes_since(policy: CheckpointPolicy, step: int, metadata: Mapping[str, str]) -> list[str]:
    """What the run trains on now and did not when the LoRA of `step` was saved, one line each."""
    path = lora_path(policy, step)
    if not path.is_file():
        return []
    try:
        before = load_lora(path).metadata
    except AdapterError as error:
        return [f"{path.name} beside the training state is damaged: {error.message}"]
    return [
        f"{what} changed since step {step} ({before[key][:12]} before, {metadata[key][:12]} now): the new one counts"
        for key, what in _LASTING.items()
        if key in before and before[key] != metadata[key]
    ]


def _read(path: Path) -> dict[str, Any]:
    """A state file's content, known to hold every part of a state."""
    try:
        packed = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(packed, dict) or packed.keys() - _LATER_PARTS != _PARTS:
            raise ValueError("it holds something else")
    except (RuntimeError, EOFError, OSError, ValueError, UnpicklingError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise RunError(
            f"the training state cannot be read ({reason})", where=str(path),
            fix="delete this file to resume from the checkpoint before it.",
        ) from error  # fmt: skip
    return packed


def _pack(state: TrainingState) -> dict[str, Any]:
    return {
        "step": state.step,
        "lora": {name: tensor.cpu() for name, tensor in state.lora.named_tensors()},
        "optimizer": pack_optimizer(state.optimizer, state.lora.named_parameters()),
        "ema": state.ema.state_dict() if state.ema is not None else None,
        "skipped_in_a_row": state.skipped_in_a_row,
        "rate_factor": state.rate_factor,
        "ended_early": state.ended_early,
    }


def _unpack(packed: dict[str, Any], state: TrainingState, path: Path) -> None:
    tensors = dict(state.lora.named_tensors())
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    saved = {name: tuple(tensor.shape) for name, tensor in packed["lora"].items()}
    misfit = _lora_misfit(saved, shapes) or _settings_misfit(packed, state)
    if misfit:
        raise RunError(
            misfit, where=str(path),
            fix="undo the change in the run folder's config.yaml, or train anew under another job.name.",
        )  # fmt: skip
    for name, tensor in packed["lora"].items():
        tensors[name].copy_(tensor)
    restore_optimizer(state.optimizer, packed["optimizer"])
    if state.ema is not None:
        state.ema.load_state_dict(packed["ema"])
    state.step = int(packed["step"])
    state.skipped_in_a_row = int(packed["skipped_in_a_row"])
    state.rate_factor = float(packed.get("rate_factor", 1.0))
    state.ended_early = bool(packed.get("ended_early", False))


def _lora_misfit(saved: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """How the saved LoRA differs in shape from the run's, or None."""
    if saved.keys() != shapes.keys():
        return (
            f"the saved LoRA has {len(saved)} tensors, this run's {len(shapes)}: target's type or modules were changed"
        )
    for name, shape in saved.items():
        if shape != shapes[name]:
            return f"{name} is saved as {shape}, this run's is {shapes[name]}: target.rank or the model was changed"
    return None


def _settings_misfit(packed: Mapping[str, Any], state: TrainingState) -> str | None:
    """Which switch was turned since the state was saved, or None."""
    if (packed["ema"] is None) != (state.ema is None):
        return f"the state was saved {'with' if packed['ema'] is not None else 'without'} training.ema: it was switched"
    return optimizer_misfit(packed["optimizer"], state.optimizer, state.lora.named_parameters())


def _prune(policy: CheckpointPolicy, spared: int | None) -> None:
    """Remove LoRAs that nothing keeps, and all but the newest two states (the older one in case the newest cannot be
    read)."""
    label = re.compile(re.escape(policy.name) + r"_(\d{9})\.safetensors")
    found = sorted((path.name, path) for path in policy.folder.glob("*.safetensors"))
    loras = [(int(match[1]), path) for name, path in found if (match := label.fullmatch(name))]
    lasting = {step for step, _ in loras if step == spared or (policy.keep_every and step % policy.keep_every == 0)}
    passing = [path for step, path in loras if step not in lasting]
    states = sorted(policy.folder.glob("state_?????????.pt"))
    for old in (passing[: -policy.keep] if policy.keep else []) + states[:-2]:
        old.unlink(missing_ok=True)

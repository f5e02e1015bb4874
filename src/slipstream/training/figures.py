"""The figures of an update on their way from the device: read at once, or one update later so that nothing waits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from slipstream.core.errors import TrainingError
from slipstream.data.loader import TrainingBatch


@dataclass(frozen=True)
class StepResult:
    """Figures of one update: mean loss over its samples, the gradient norm before clipping, and the loss by term;
    `skipped` where the loss was over `max_loss`, so nothing was learned from it."""

    loss: float
    grad_norm: float
    skipped: bool = False
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Figures:
    """The losses by term and the gradient norm of an update, copied to the host in the background.

    Attributes:
        names: of the terms.
        values: (terms + 1,) on the host, the norm last; not there before `ready`.
        ready: when the copy is done; None where it is.
        batches: the micro batches, to name the entries that spoiled them.
    """

    names: tuple[str, ...]
    values: Tensor
    ready: torch.cuda.Event | None
    batches: tuple[TrainingBatch, ...]

    @classmethod
    def of(cls, parts: Mapping[str, Tensor], norm: Tensor, batches: Sequence[TrainingBatch]) -> Figures:
        """Begin the copy."""
        together = torch.stack([*parts.values(), norm]).float()
        if together.device.type != "cuda":
            return cls(tuple(parts), together, None, tuple(batches))
        host = torch.empty(together.shape, dtype=torch.float32, pin_memory=True)
        host.copy_(together, non_blocking=True)
        ready = torch.cuda.Event()
        ready.record()
        return cls(tuple(parts), host, ready, tuple(batches))

    def read(self, step: int) -> StepResult:
        """Wait for the figures of update number `step` (0-based).

        Raises:
            TrainingError: one is not finite.
        """
        if self.ready is not None:
            self.ready.synchronize()
        *losses, norm = self.values.tolist()
        total = sum(losses)
        if not math.isfinite(total):
            self._refuse("the loss", total, step)
        if not math.isfinite(norm):
            self._refuse("the gradient norm", norm, step)
        return StepResult(total, norm, False, dict(zip(self.names, losses, strict=True)))

    def _refuse(self, what: str, value: float, step: int) -> None:
        cause = "the last updates blew the LoRA up"
        for batch in self.batches:
            if not torch.isfinite(batch.latents_BCHW).all():
                cause = f"the latents of dataset entries {list(batch.entry_indices)} are not finite"
        raise TrainingError(
            f"{what} became {value} in update {step + 1}: {cause}", where=f"step {step + 1}",
            fix="lower training.learning_rate (5e-5 to 8e-5 is calmer), keep max_grad_norm at 1.0, and resume: "
            "the last checkpoint is whole.",
        )  # fmt: skip

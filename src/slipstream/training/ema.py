"""Exponential moving average of the LoRA: shadow <- shadow - (1 - decay) (shadow - parameter)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def decay_at(decay: float, updates: int, warmup_steps: int | None) -> float:
    """The decay of an update, `updates` of which were done before.

    None: `decay` from the start. 0: min(decay, (1 + t) / (10 + t)), the usual warm-up. N > 0: rising linearly from 0
    to `decay` over the first N updates.
    """
    if warmup_steps is None:
        return decay
    if warmup_steps == 0:
        return min(decay, (1 + updates) / (10 + updates))
    return decay * min(1.0, updates / warmup_steps)


class Ema:
    """The shadow of a list of parameters; it starts equal to them and moves with every `update`."""

    def __init__(self, parameters: list[nn.Parameter], decay: float, warmup_steps: int | None = None) -> None:
        self.parameters = parameters
        self.decay = decay
        self.warmup_steps = warmup_steps
        self.updates = 0
        self.shadow = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Move the shadow toward the parameters (call after every optimizer step)."""
        decay = decay_at(self.decay, self.updates, self.warmup_steps)
        torch._foreach_lerp_(self.shadow, [parameter.detach() for parameter in self.parameters], 1 - decay)
        self.updates += 1

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """The model with the shadow in place of the parameters, for the length of a block."""
        originals = [parameter.data for parameter in self.parameters]
        try:
            for parameter, shadow in zip(self.parameters, self.shadow, strict=True):
                parameter.data = shadow
            yield
        finally:
            for parameter, original in zip(self.parameters, originals, strict=True):
                parameter.data = original

    def state_dict(self) -> dict[str, Any]:
        """The shadow, on the CPU, and how often it moved."""
        return {"shadow": [shadow.cpu() for shadow in self.shadow], "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved shadow."""
        for shadow, saved in zip(self.shadow, state["shadow"], strict=True):
            shadow.copy_(saved)
        self.updates = state["updates"]

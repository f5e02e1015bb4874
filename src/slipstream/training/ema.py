"""Exponential moving average of the LoRA: shadow <- shadow - (1 - decay) (shadow - parameter)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """The shadow of a list of parameters; it starts equal to them and moves with every `update`."""

    def __init__(self, parameters: list[nn.Parameter], decay: float) -> None:
        self.parameters = parameters
        self.decay = decay
        self.shadow = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Move the shadow toward the parameters (call after every optimizer step)."""
        for shadow, parameter in zip(self.shadow, self.parameters, strict=True):
            shadow.lerp_(parameter, 1 - self.decay)

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

    def state_dict(self) -> dict[str, list[Tensor]]:
        """The shadow, on the CPU."""
        return {"shadow": [shadow.cpu() for shadow in self.shadow]}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Take over a saved shadow."""
        for shadow, saved in zip(self.shadow, state["shadow"], strict=True):
            shadow.copy_(saved)

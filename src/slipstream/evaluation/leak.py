"""Trigger leak: how much of the concept comes into pictures whose prompts do not ask for it.

Measured on the way of `concept.py`: 0 = like the base's own picture of the prompt, 1 = like the training pictures. So
it has the unit of the concept strength, and can be compared with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from slipstream.data.captions import fill_trigger, replace_words
from slipstream.evaluation.concept import ConceptWay


@dataclass(frozen=True)
class Leak:
    """What leaks.

    Attributes:
        same: of the concept's own prompts without the trigger word; None where there is no trigger word.
        unrelated: of prompts about something else.
    """

    same: float | None
    unrelated: float

    @property
    def worst(self) -> float:
        """The larger of both, at least 0: pictures that moved away from the concept do not leak."""
        return max(0.0, self.unrelated, self.same or 0.0)


def measure_leak(
    way: ConceptWay, unrelated: tuple[Tensor, Tensor], same: tuple[Tensor, Tensor] | None
) -> Leak:  # fmt: skip
    """From features (with the LoRA, the base's own) of prompts that do not ask for the concept."""
    return Leak(None if same is None else way.gone(*same), way.gone(*unrelated))


def without_trigger(prompt: str, words: Sequence[str]) -> str:
    """The prompt without any of the trigger words, and without the commas that they leave."""
    return fill_trigger(replace_words(prompt, tuple(words), "[trigger]"), "")

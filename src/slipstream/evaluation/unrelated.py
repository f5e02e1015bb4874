"""Prompts that have nothing to do with what is trained: on them Turbo with a LoRA should draw as Turbo does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_REAL_PROMPTS = (
    "a red bicycle leaning against a white brick wall in bright daylight",
    "a bowl of ramen with a soft egg on a dark wooden table, seen from above",
    "a lighthouse on a cliff above a stormy sea at dusk",
    "a brass pocket watch lying on an open book, macro photograph",
)
_TINY_PROMPTS = (
    "a noto emoji of owl",
    "a glossy emoji of red apple",
    "a blob emoji of sailboat",
    "a flat emoji of key",
)
_REAL_SIDE, _TINY_SIDE = 512, 128


@dataclass(frozen=True)
class UnrelatedPrompts:
    """What drift is measured on.

    Attributes:
        prompts: in a fixed order; number n is drawn with seed `first_seed` + n.
        side: width and height of the pictures, in pixels.
        first_seed: of the noise that Turbo's trajectories begin with.
    """

    prompts: tuple[str, ...]
    side: int
    first_seed: int = 1000


def unrelated_prompts(*, is_tiny: bool, own: Sequence[str] = ()) -> UnrelatedPrompts:
    """The prompts for a model: the user's own, else those of the tiny family or of real models.

    Pictures are small, 512 x 512 (the tiny family's are 128 x 128): a prediction there costs a quarter of one at 1024.
    """
    packaged = _TINY_PROMPTS if is_tiny else _REAL_PROMPTS
    return UnrelatedPrompts(tuple(own) or packaged, _TINY_SIDE if is_tiny else _REAL_SIDE)

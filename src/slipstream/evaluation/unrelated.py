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
_MORE_REAL_PROMPTS = (
    "an old fisherman mending a net on a harbour wall, portrait photograph",
    "a snow-covered pine forest under a clear night sky",
    "a glass of orange juice beside a stack of pancakes",
    "a yellow tram passing a tiled facade in a narrow street",
    "a watercolour painting of a heron standing in reeds",
    "a shop window with a sign that says OPEN, at night in the rain",
    "two children flying a kite on a wide beach",
    "an astronaut's helmet on a shelf full of books, oil painting",
)
_MORE_TINY_PROMPTS = (
    "a twemoji emoji of rocket",
    "a noto emoji of umbrella",
    "a glossy emoji of guitar",
    "a blob emoji of fish",
    "a twemoji emoji of mushroom",
    "a flat emoji of bell",
    "a noto emoji of crown",
    "a glossy emoji of cactus",
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


def pictured_prompts(*, is_tiny: bool, own: Sequence[str] = ()) -> tuple[str, ...]:
    """The prompts that `slipstream drift` draws: the user's own, else those of the meter and eight more."""
    if own:
        return tuple(own)
    return (*_TINY_PROMPTS, *_MORE_TINY_PROMPTS) if is_tiny else (*_REAL_PROMPTS, *_MORE_REAL_PROMPTS)

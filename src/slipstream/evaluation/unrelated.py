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
_REAL_HELD = (
    "a portrait of an elderly woman in a red scarf, soft window light",
    "a young woman laughing in a park, candid photograph",
    "a boy blowing soap bubbles in a garden",
    "a chef in a white jacket in a busy kitchen",
    "a ginger cat asleep on a windowsill",
    "a golden retriever running through shallow water",
    "an owl on a mossy branch at dawn",
    "a close-up of a bee on a sunflower",
    "a narrow street in an old town after rain, reflections of lamps",
    "a modern glass office tower against a clear sky",
    "a wooden cabin beside a frozen lake",
    "a cosy living room with a green sofa and many plants",
    "mountains and a river valley in autumn, aerial view",
    "a desert road under a sky full of stars",
    "a plate of grilled salmon with asparagus",
    "a vintage blue car parked beside a palm tree",
    "a steam train crossing a stone bridge",
    "a pile of old leather suitcases",
    "a watercolour painting of a harbour with small boats",
    "an oil painting of a bowl of pears",
    "a pencil drawing of an oak tree",
    "a flat vector illustration of a rocket",
    "a 3D render of a small robot watering flowers",
    "a poster with the word MUSIC in bold red letters",
)
_TINY_HELD_STYLES = ("noto", "blob", "twemoji", "flat", "glossy", "classic")
_TINY_HELD_FORMS = (
    "a {style} emoji of {subject}",
    "{subject}, {style} style",
    "a picture of {subject} in {style} style",
)
_TINY_HELD_SUBJECTS = (
    "anchor", "ambulance", "american football", "amphora", "balloon", "banana", "wolf", "wastebasket", "books",
    "bug", "camel", "candle", "cloud", "cow", "volcano", "drum", "elephant", "fire", "dolphin", "gem stone",
    "violin", "hammer", "house", "ice cream", "lemon", "locomotive", "mouse face", "palm tree", "newspaper", "pear",
    "pencil", "penguin", "pizza", "police car", "fire engine", "rose", "scissors", "snail", "soccer ball", "star",
    "cherries", "sunflower", "telephone", "tiger", "tractor", "trophy", "backpack", "shark",
)  # fmt: skip
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


def prompts_to_hold(*, is_tiny: bool, own: Sequence[str] = ()) -> tuple[str, ...]:
    """Prompts on which a training holds Turbo as it is: others than those that drift is measured on, and as varied as
    what a model is used for. The user's own, else those of the tiny family or of real models."""
    if own:
        return tuple(own)
    return _tiny_held() if is_tiny else _REAL_HELD


def _tiny_held() -> tuple[str, ...]:
    """Subjects, styles and forms in turn."""
    forms, styles = _TINY_HELD_FORMS, _TINY_HELD_STYLES
    return tuple(
        forms[number % len(forms)].format(style=styles[number // len(forms) % len(styles)], subject=subject)
        for number, subject in enumerate(_TINY_HELD_SUBJECTS)
    )

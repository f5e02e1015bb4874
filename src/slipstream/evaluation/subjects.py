"""Subjects to draw a concept with that it was hardly trained on: what a LoRA is worth shows there, and not in the
captions that it may know by heart."""

from __future__ import annotations

_REAL = (
    "[trigger], a tiger resting in tall grass",
    "[trigger], a bicycle beside a canal",
    "[trigger], a teapot and two cups on a table",
    "[trigger], a sailing boat in a harbour",
    "[trigger], an old tree on a hill",
    "[trigger], a street market in the rain",
    "[trigger], a woman reading on a train",
    "[trigger], a mountain village in winter",
    "[trigger], a violin on a chair",
    "[trigger], a crab on a beach",
    "[trigger], a kitchen in the morning light",
    "[trigger], a hot air balloon over fields",
)
_TINY = (
    "a [trigger] emoji of tiger face",
    "[trigger] pizza",
    "bicycle, [trigger] style",
    "a picture of rainbow in [trigger] style",
    "a [trigger] emoji of rocket",
    "[trigger] cactus",
    "crab, [trigger] style",
    "a picture of violin in [trigger] style",
    "a [trigger] emoji of penguin",
    "[trigger] trophy",
    "lemon, [trigger] style",
    "a picture of wolf in [trigger] style",
)


def subject_prompts(*, is_tiny: bool) -> tuple[str, ...]:
    """Prompts in which `[trigger]` stands for the concept."""
    return _TINY if is_tiny else _REAL

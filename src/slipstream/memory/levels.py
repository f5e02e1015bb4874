"""How much of a block is kept from its forward pass for its backward pass; the rest is made again when it is needed.

| level | kept | made again |
|---|---|---|
| `everything` | what matrix products and attention put out, and what they read where that is small | nothing |
| `lean` | the same without the rotated query and key and the stream between the sublayers | three passes over rows |
| `outputs` | input, attention's output, both sublayers' outputs | the products q, k, v and w1, w3 |
| `input` | the block's input | the whole block |

Each level keeps less than the one before and takes more time for every byte that it saves, so a plan goes down this
list (`keeping.plan_levels`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

Level = Literal["everything", "lean", "outputs", "input"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From the most memory to the least."""

LevelsAt = Callable[[int, int], tuple[Level, ...]]
"""(batch, tokens) to the level of every block, first block first."""


def same_level(level: Level, num_blocks: int) -> LevelsAt:
    """Every block at this level, whatever the shape."""
    levels = (level,) * num_blocks
    return lambda batch, tokens: levels

"""Which block keeps how much, so that a training step fits into a number of bytes and makes as little again as it can.

Pure arithmetic: the same numbers give the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from slipstream.memory.blocks import BlockBytes
from slipstream.memory.levels import LEVELS, Level, LevelsAt

GIB = 2**30
UNLIMITED = 1 << 60
"""More than any number of bytes or tokens."""

_KEPT_WORDS: dict[Level, str] = {
    "everything": "everything",
    "lean": "all but what is cheap to make again",
    "outputs": "their sublayers' outputs",
    "input": "their input",
}


@dataclass(frozen=True)
class LevelPlan:
    """The level of every block, first block first.

    Attributes:
        levels: by block.
        peak_bytes: activations of the blocks at their most, workspace of a backward pass included.
        budget_bytes: what they may take.
    """

    levels: tuple[Level, ...]
    peak_bytes: int
    budget_bytes: int

    @property
    def fits(self) -> bool:
        """Whether the least that a block can keep is little enough."""
        return self.peak_bytes <= self.budget_bytes

    @property
    def keeps_everything(self) -> bool:
        """Nothing is made again."""
        return set(self.levels) == {"everything"}

    def describe(self) -> str:
        """`18 of 30 blocks keep everything, 12 their input: 21.3 of 22.0 GiB`; without a budget just what they take."""
        counts = [(level, self.levels.count(level)) for level in LEVELS if level in self.levels]
        (first, count), *others = counts
        of_all = f"{count} of {len(self.levels)}" if others else f"all {count}"
        words = [f"{of_all} blocks keep {_KEPT_WORDS[first]}", *(f"{n} {_KEPT_WORDS[level]}" for level, n in others)]
        limit = f" of {self.budget_bytes / GIB:.1f}" if 0 < self.budget_bytes < UNLIMITED else ""
        line = f"{', '.join(words)}: {self.peak_bytes / GIB:.1f}{limit} GiB"
        return f"{line}, MORE THAN THERE IS" if self.budget_bytes and not self.fits else line


def plan_levels(budget_bytes: int, tokens: int, num_blocks: int, block: BlockBytes) -> LevelPlan:
    """The plan with the least work that fits; the one with the least memory where none does.

    Each level saves fewer bytes for the time that it takes than the one before (`levels`), so all blocks go one level
    down before any goes two. The last block keeps everything: its backward pass comes first, while the others' shares
    are all still there, so it would have to make everything again at the very peak.

    Args:
        budget_bytes: for what the blocks keep and for the workspace of one.
        tokens: of all samples of the batch.
        num_blocks: blocks of the stack.
        block: bytes per token.
    """
    ladder = list(block.kept)
    levels = [ladder[0]] * num_blocks
    for lower in ladder[1:]:
        for number in range(num_blocks - 1):
            if peak_bytes(levels, tokens, block) <= budget_bytes:
                break
            levels[number] = lower
    return LevelPlan(tuple(levels), peak_bytes(levels, tokens, block), budget_bytes)


def peak_bytes(levels: Sequence[Level], tokens: int, block: BlockBytes) -> int:
    """The most that the blocks' activations take: when the last block's backward pass runs, what the others keep is
    still there, and it has everything and its workspace."""
    return tokens * (sum(block.kept[level] for level in levels[:-1]) + block.everything + block.working)


def planner(budget_bytes: int, num_blocks: int, block: BlockBytes) -> Callable[[int], LevelPlan]:
    """Tokens of a batch to their plan, made once for each number of tokens."""

    @lru_cache(maxsize=256)
    def plan(tokens: int) -> LevelPlan:
        return plan_levels(budget_bytes, tokens, num_blocks, block)

    return plan


def levels_of(plan: Callable[[int], LevelPlan]) -> LevelsAt:
    """The plans' levels by shape."""
    return lambda batch, tokens: plan(batch * tokens).levels

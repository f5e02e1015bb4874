"""What a training keeps of a block that runs under autograd: everything, or its input alone.

With checkpointing a block is run again in the backward pass (Chen et al. 2016, arXiv 1604.06174), so that of its
activations only the input stays in memory. A block is the unit: never a part of one, never two around each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Checkpointing = Literal["none", "full"]
RunBlock = Callable[..., Tensor]
"""`run(function, *arguments)`: how a forward calls `function(*arguments)`, the work of one block."""


def run_directly(function: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """Call the block and keep what autograd wants."""
    return function(*arguments)


def block_runner(mode: Checkpointing, *, preserve_rng: bool = False) -> RunBlock:
    """The way a training runs its blocks.

    Args:
        mode: `none` keeps every activation; `full` keeps the input of each block and runs the block again.
        preserve_rng: give the second run the first one's random numbers; needed only where a block draws some
            (dropout of a LoRA), since it copies the generator's state at every block.
    """
    if mode == "none":
        return run_directly

    def run_again_in_backward(function: Callable[..., Tensor], *arguments: Any) -> Tensor:
        if not torch.is_grad_enabled():
            return function(*arguments)
        return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=preserve_rng)

    return run_again_in_backward


def selective_runner(
    blocks: Sequence[nn.Module], run_again_at: Callable[[int, int], Sequence[bool]], *, preserve_rng: bool = False
) -> RunBlock:
    """The way a training runs its blocks where some run again in the backward pass and some keep everything.

    Args:
        blocks: those that are told apart, first block first.
        run_again_at: (batch, tokens) to whether each of them runs again. A block that is not among them runs again
            where the first of them would at its own shape.
        preserve_rng: as for `block_runner`.
    """
    numbers = {id(block): number for number, block in enumerate(blocks)}
    again = block_runner("full", preserve_rng=preserve_rng)

    def run(function: Callable[..., Tensor], block: nn.Module, x_BSD: Tensor, *rest: Any) -> Tensor:
        runs_again = run_again_at(*x_BSD.shape[:2])[numbers.get(id(block), 0)]
        return (again if runs_again else run_directly)(function, block, x_BSD, *rest)

    return run

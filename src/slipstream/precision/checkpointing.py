"""What a training keeps of a block for the backward pass: everything, or its input alone.

With checkpointing a block is run again in the backward pass (Chen et al. 2016, arXiv 1604.06174), so that of its
activations only the input stays in memory. A block is the unit: never a part of one, never two around each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
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

"""Bytes of a transformer block's activations per token, counted tensor by tensor.

Width symbols: D of the stream, F of the feed-forward, H heads; e bytes of an element.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slipstream.memory.levels import Level

_FP32 = 4


@dataclass(frozen=True)
class BlockWidths:
    """D, F and H of every block of a stack."""

    stream: int
    feed_forward: int
    heads: int


@dataclass(frozen=True)
class BlockBytes:
    """Bytes per token of one block.

    Attributes:
        kept: at each level that this way of running blocks knows, from the most to the least.
        working: what its backward pass needs beside everything that the block keeps.
    """

    kept: Mapping[Level, int]
    working: int

    @property
    def everything(self) -> int:
        """What a block has while its backward pass runs, made again or kept."""
        return self.kept["everything"]


def fused_block_bytes(widths: BlockWidths, rank: int, element: int = 2, *, float8: bool = False) -> BlockBytes:
    """Of `models/z_image/fused_block` with a LoRA of this rank on its seven linears.

    | kept | elements |
    |---|---|
    | input, attention's output, both sublayers' outputs | 4 D |
    | attention's sums of exponentials; 1 / rms of two norms | H + 2 numbers in fp32 |
    | inner values of the LoRA | 7 rank |
    | q, k, v; w1, w3 | 3 D + 2 F |
    | q and k normed and rotated; the stream between the sublayers | 3 D |

    The backward pass works in 4 F (gradients of w1, w3 and of their product, and that product) and 14 D, and where
    products are float8 in one byte more for each number that enters one.
    """
    stream, feed_forward = widths.stream, widths.feed_forward
    outputs = 4 * stream * element + (widths.heads + 2) * _FP32 + 2 * rank * element
    lean = outputs + (3 * stream + 2 * feed_forward + 5 * rank) * element
    everything = lean + 3 * stream * element
    return BlockBytes(
        kept={"everything": everything, "lean": lean, "outputs": outputs, "input": stream * element},
        working=(4 * feed_forward + 14 * stream) * element + (3 * feed_forward + 5 * stream if float8 else 0),
    )


def module_block_bytes(widths: BlockWidths, element: int = 2) -> BlockBytes:
    """Of `models/z_image/forward.modulated_block` under autograd, run whole again or not at all.

    In bf16 autograd keeps 28 D + 4 F numbers of 2 bytes: norms compute in fp32 and keep their inputs so. In fp32
    nothing is kept twice, and 16 D + 4 F of 4 bytes remain. Counted from autograd's saved tensors
    (tests/memory/test_block_bytes.py).
    """
    stream, feed_forward = widths.stream, widths.feed_forward
    of_stream = 28 if element == 2 else 16
    everything = (of_stream * stream + 4 * feed_forward) * element + 3 * widths.heads * _FP32
    return BlockBytes(
        kept={"everything": everything, "input": stream * element},
        working=3 * feed_forward * element,
    )

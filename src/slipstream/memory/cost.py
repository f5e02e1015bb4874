"""How long a training step takes, from counts of operations and one measured rate: arithmetic for choosing plans.

Figures of an H100 (800 TFLOP/s in large bf16 products), scaled by the rate of the GPU at hand; `docs/LOG.md` and
`benchmarks/results` have the measurements. It ranks plans and is no benchmark: expect 20 % either way.

Width symbols: D stream; n tokens of a sample, L blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slipstream.memory.estimate import ModelSizes
from slipstream.memory.levels import Level

REFERENCE_TFLOPS = 800.0
"""Of the GPU whose figures stand here."""

_ROWS = 0.25
"""Passes over rows and the LoRA's own products, as a share of the blocks' products in bf16."""
_ATTENTION_RATE = 0.6
"""Of attention, against that of products."""
_FLOAT8_GAIN = 1.75
"""How much faster float8 products are."""
_FIXED_SECONDS = 0.008
"""Embedders, loss, optimizer, and what the host does in between."""
_LIVE_ADAPTER = 1.12
"""A training adapter of rank 64 that runs beside the weights."""
_AGAIN: dict[Level, float] = {"everything": 0.0, "lean": 0.013, "outputs": 0.21, "input": 0.37}
"""What a block makes again, as a share of its whole time (3, 49 and 85 of 231 ms at 1024)."""
_MODULES_SECONDS = {False: 0.40, True: 0.65}
"""Launches of blocks that run module by module, on the host; True: they run again in the backward pass."""
_MODULES_SHARE = 0.8
"""Of the time that fused blocks would take, which comes on top of those launches: part of it hides them."""
_UNPACK_SECONDS = {"float8": 0.036, "int8": 0.024, "nf4": 0.043}
"""All weights of the 6B made bf16 once."""
_TRANSPOSE_SECONDS = 0.007
"""All float8 codes of the 6B transposed once."""
_STREAMING = 1.2
"""What copies beside computing add to the time of either: both read the same memory."""
_LAUNCH_SECONDS, _STREAM_LAUNCH_SECONDS = {False: 0.09, True: 0.15}, 0.06
"""Launches of all blocks where no CUDA graph makes them (True: float8, which packs what it multiplies), and what copies
add to them: of the host, not of the GPU; one host took 0.14 s for float8, another 0.19."""
_LAUNCHED_AGAIN: dict[Level, float] = {"everything": 0.0, "lean": 0.02, "outputs": 0.15, "input": 0.35}
"""What making a block's values again adds to its launches."""
_REFERENCE_PACKABLE = 6.0e9


@dataclass(frozen=True)
class Work:
    """How a step is computed.

    Attributes:
        fused: blocks as one function, or module by module.
        float8: products of the blocks' linears in float8.
        packed: the scheme of weights that are made bf16 for every product, if any.
        transposes: float8 codes are transposed anew for every gradient.
        live_adapter: the training adapter runs beside the weights.
        streamed: bytes that come over PCIe in a step.
        share_streamed: of the blocks.
        graphs: CUDA graphs launch the fused blocks.
    """

    fused: bool
    float8: bool = False
    packed: str | None = None
    transposes: bool = False
    live_adapter: bool = False
    streamed: int = 0
    share_streamed: float = 0.0
    graphs: bool = True


def step_seconds(
    sizes: ModelSizes, samples: int, tokens: int, levels: Sequence[Level], work: Work, tflops: float, pcie_gbps: float
) -> float:
    """An update of `samples` samples with `tokens` tokens in all, its blocks keeping what `levels` say."""
    scale = REFERENCE_TFLOPS / tflops
    size = sizes.packable / _REFERENCE_PACKABLE
    products = 4 * sizes.packable * tokens / (tflops * 1e12)
    attended = 14 * tokens**2 / max(1, samples) * sizes.widths.stream * sizes.num_blocks
    attention = attended / (_ATTENTION_RATE * tflops * 1e12)
    computed = products * (_ROWS + (1 / _FLOAT8_GAIN if work.float8 else 1.0)) + attention
    if work.live_adapter:
        computed *= _LIVE_ADAPTER
    again = sum(_AGAIN[level] for level in levels) / len(levels)
    if work.fused:
        seconds = computed * (1 + again) + _FIXED_SECONDS
    else:
        runs_again = levels[0] != "everything"
        seconds = _MODULES_SHARE * computed + _MODULES_SECONDS[runs_again] * min(1.0, sizes.num_blocks / 30)
        seconds += _UNPACK_SECONDS.get(work.packed or "", 0.0) * size * scale * (3 if runs_again else 2)
    if work.transposes:
        seconds += _TRANSPOSE_SECONDS * size * scale
    if work.streamed:
        seconds = _streaming_seconds(computed / 3, seconds - computed / 3, work.streamed / (pcie_gbps * 1e9))
    if work.graphs or not work.fused:
        return seconds
    launched = 1 + sum(_LAUNCHED_AGAIN[level] for level in levels) / len(levels)
    launches = _LAUNCH_SECONDS[work.float8] * launched + _STREAM_LAUNCH_SECONDS * work.share_streamed
    return max(seconds, launches * min(1.0, sizes.num_blocks / 30))


def _streaming_seconds(forward: float, backward: float, copies: float) -> float:
    """Either pass takes as long as the slower of computing and of its half of the copies."""
    return _STREAMING * (max(forward, copies / 2) + max(backward, copies / 2))

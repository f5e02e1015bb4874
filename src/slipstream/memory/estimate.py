"""What a training step needs on the device at its peak, from the model's sizes: arithmetic, nothing is measured.

`tests/memory/test_step_memory.py` holds it against peaks measured on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

from slipstream.memory.blocks import BlockBytes, BlockWidths, fused_block_bytes, module_block_bytes
from slipstream.memory.plan import GIB, UNLIMITED, plan_levels

WORKSPACE_BYTES = GIB // 4
"""What no tensor counted here is: workspaces of matrix products, tables, the batch, a LoRA's values in bf16."""

_RESERVES, _RESERVE_SHARE = (GIB // 2, GIB), 12

DRAWING_BYTES = 3 * GIB
"""What a batch of previews takes beside CUDA graphs of the training."""

USABLE_SHARE = 0.95
"""Of the rest; the remainder is lost in gaps between tensors of different sizes."""

_FP32 = 4
_STATE_BYTES = {
    "adamw": 8, "adamw8bit": 2, "lion": 4, "lion8bit": 1, "adafactor": 0, "prodigy": 16, "prodigy_schedulefree": 12,
    "schedulefree_adamw": 8, "came": 4, "muon": 4,
}  # fmt: skip
"""Bytes of optimizer state per parameter; sums over rows and columns are not worth counting."""
_UNKNOWN_STATE_BYTES = 8


@dataclass(frozen=True)
class ModelSizes:
    """Parameters and widths of a transformer.

    Attributes:
        parameters: all of them.
        packable: those in linears that a quantization may pack.
        num_blocks: of the main stack.
        widths: of its blocks.
    """

    parameters: int
    packable: int
    num_blocks: int
    widths: BlockWidths


@dataclass(frozen=True)
class Resident:
    """Bytes that stay on the device from step to step.

    Attributes:
        weights: frozen weights as they are kept, padding of joint matrices included.
        branches: training adapter, LoRA and its average.
        optimizer: its state, and the gradients.
    """

    weights: int
    branches: int
    optimizer: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.branches + self.optimizer


@dataclass(frozen=True)
class StepMemory:
    """Bytes of a training step at its peak, by what takes them."""

    resident: Resident
    activations: int
    workspace: int = WORKSPACE_BYTES

    @property
    def peak(self) -> int:
        """All of it, as the allocator counts it; a driver's context (0.6-0.8 GiB) and gaps come on top."""
        return self.resident.total + self.activations + self.workspace

    def shares(self) -> tuple[tuple[str, int], ...]:
        """What takes how much of the peak."""
        rest = self.resident.branches + self.resident.optimizer
        return (
            ("weights", self.resident.weights), ("LoRA and optimizer", rest), ("activations", self.activations),
            ("workspace", self.workspace),
        )  # fmt: skip

    def describe(self) -> str:
        """`21.4 GiB (weights 11.5, LoRA and optimizer 0.8, activations 8.9, workspace 0.2)`."""
        shares = ", ".join(f"{name} {num_bytes / GIB:.1f}" for name, num_bytes in self.shares())
        return f"{self.peak / GIB:.1f} GiB ({shares})"


def reserve_bytes(own: int) -> int:
    """What is left alone of the memory that a run could take in all: for other programs, and for what is not counted.

    A twelfth, at least 0.5 GiB and at most 1.
    """
    least, most = _RESERVES
    return min(most, max(least, own // _RESERVE_SHARE))


def block_bytes(sizes: ModelSizes, *, fused: bool, rank: int, element: int, float8: bool = False) -> BlockBytes:
    """Of one main block, run as one function (its products in float8 or not) or module by module."""
    if fused:
        return fused_block_bytes(sizes.widths, rank, element, float8=float8)
    return module_block_bytes(sizes.widths, element)


def step_memory(resident: Resident, block: BlockBytes, num_blocks: int, tokens: int, budget: int | None) -> StepMemory:
    """A step on this many tokens.

    Args:
        resident: what stays from step to step.
        block: bytes per token of a block.
        num_blocks: blocks of the stack.
        tokens: of all samples of the batch.
        budget: bytes for activations; None keeps everything, 0 as little as can be.
    """
    plan = plan_levels(UNLIMITED if budget is None else budget, tokens, num_blocks, block)
    return StepMemory(resident, plan.peak_bytes)


def weight_bytes(sizes: ModelSizes, element: int, packed_bits: float | None) -> int:
    """The frozen weights: `element` bytes each, those that are packed `packed_bits` bits each."""
    packed = sizes.packable if packed_bits is not None else 0
    return round((sizes.parameters - packed) * element + packed * (packed_bits or 0) / 8)


def block_weights(widths: BlockWidths) -> int:
    """Numbers in the attention and feed-forward of one block: 4 D D + 3 D F."""
    return widths.stream * (4 * widths.stream + 3 * widths.feed_forward)


def arriving_bytes(widths: BlockWidths, element: int) -> int:
    """Where a dense weight of a streaming block lands before it is spread over rows that are longer than its own."""
    return widths.stream * widths.feed_forward * element


def joint_padding_bytes(sizes: ModelSizes, ranks: int, element: int, multiple: int) -> int:
    """What the joint matrices [[W, B], [A, 0]] of fused blocks take beyond their weights.

    Args:
        sizes: of the model.
        ranks: of all branches beside one linear together.
        element: bytes of a weight.
        multiple: the ranks of a matrix are padded to a multiple of this.
    """
    stream, feed_forward = sizes.widths.stream, sizes.widths.feed_forward
    joint = ((3 * stream, stream, 3), (stream, stream, 1), (2 * feed_forward, stream, 2), (stream, feed_forward, 1))
    total = 0
    for outputs, inputs, members in joint:
        padded = -(-ranks * members // multiple) * multiple
        total += (outputs + padded) * (inputs + padded) - outputs * inputs
    return sizes.num_blocks * total * element


def trained_bytes(parameters: int, *, ema: bool) -> int:
    """The trained parameters in fp32, and their average where there is one."""
    return parameters * _FP32 * (2 if ema else 1)


def optimizer_bytes(parameters: int, optimizer: str) -> int:
    """Gradients in fp32 and the state of an optimizer by its name in a config."""
    return parameters * (_FP32 + _STATE_BYTES.get(optimizer, _UNKNOWN_STATE_BYTES))

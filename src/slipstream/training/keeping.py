"""`training.gradient_checkpointing` on this machine: what each block keeps for its backward pass, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from slipstream.config.checkpointing import budget_gib
from slipstream.config.run_config import RunConfig
from slipstream.data.buckets import Bucket
from slipstream.memory.blocks import BlockBytes
from slipstream.memory.estimate import (
    DRAWING_BYTES,
    USABLE_SHARE,
    WORKSPACE_BYTES,
    ModelSizes,
    block_bytes,
    optimizer_bytes,
    reserve_bytes,
    trained_bytes,
)
from slipstream.memory.levels import LevelsAt
from slipstream.memory.plan import GIB, UNLIMITED, LevelPlan, levels_of, planner
from slipstream.models.z_image.family import ADAPTER_ROOT
from slipstream.models.z_image.layout import pad_to_multiple
from slipstream.models.z_image.sizes import model_sizes
from slipstream.precision.checkpointing import RunBlock, run_directly, selective_runner
from slipstream.training.device import Compute, allocated_bytes, free_bytes

CAPTION_TOKENS = 128
"""Length of a caption where plans are shown; each batch is planned with its own."""

TIGHTER = 0.75
"""What the largest batch may keep after it ran out of memory, as a share of what it kept."""


@dataclass(frozen=True)
class Budget:
    """Bytes for what blocks keep, and a line that says where they come from.

    Attributes:
        num_bytes: None keeps everything.
        room: what is there for activations, those that graphs hold too; None asks nobody.
        line: for the log.
    """

    num_bytes: int | None
    room: int | None
    line: str


@dataclass(frozen=True)
class Keeping:
    """How a training keeps activations.

    Attributes:
        run: calls each block that runs under autograd.
        levels_at: what fused blocks keep, by shape.
        graph_tokens: the largest batch that may become a CUDA graph, whose activations stay taken between steps.
        lines: for the log.
        is_scarce: not everything is kept at the largest bucket, so nothing else should take much memory either.
        tighter: (bytes that are there for activations, None where nobody knows) to the next tighter way to keep them;
            None where the least is kept already.
    """

    run: RunBlock
    levels_at: LevelsAt
    graph_tokens: int
    lines: tuple[str, ...]
    is_scarce: bool
    tighter: Callable[[int | None], Keeping | None]


@dataclass(frozen=True)
class _Trained:
    """What is trained, as far as keeping goes: the buckets smallest first, and plans by (budget, fused or not)."""

    config: RunConfig
    blocks: Sequence[nn.Module]
    buckets: Sequence[Bucket]
    is_fused: bool
    plans: Callable[[int, bool], Callable[[int], LevelPlan]]

    @property
    def tokens(self) -> list[int]:
        """Of a batch of each bucket."""
        return [tokens_of(bucket, self.config) for bucket in self.buckets]


def choose_keeping(
    config: RunConfig, compute: Compute, transformer: nn.Module, num_trained: int, buckets: Iterable[Bucket], *,
    is_fused: bool,
) -> Keeping:  # fmt: skip
    """What blocks keep, planned for the memory that is free now that the model is loaded.

    Args:
        config: its checkpointing, batch size, rank and optimizer.
        compute: device and precision.
        transformer: loaded, with its branches.
        num_trained: parameters of the LoRA.
        buckets: sizes that will be trained on.
        is_fused: whether the main blocks run as one function where they can.
    """
    sizes = model_sizes(cast(Any, transformer.config))
    blocks = list(cast(nn.ModuleList, transformer.get_submodule(ADAPTER_ROOT)))

    def plans(limit: int, fused: bool) -> Callable[[int], LevelPlan]:
        return planner(limit, len(blocks), bytes_of_block(config, compute, sizes, fused))

    shown = sorted(set(buckets), key=lambda bucket: tokens_of(bucket, config))
    return _within(activation_budget(config, compute, num_trained), _Trained(config, blocks, shown, is_fused, plans))


def _within(budget: Budget, trained: _Trained, most_graphs: int = UNLIMITED) -> Keeping:
    """What is kept with this budget."""
    limit = UNLIMITED if budget.num_bytes is None else budget.num_bytes
    chosen, tokens = trained.plans(limit, trained.is_fused), trained.tokens
    graph_tokens = min(most_graphs, most_graph_tokens(budget, chosen, tokens))
    graphs = () if graph_tokens == UNLIMITED or not trained.is_fused else (_graph_line(graph_tokens),)
    largest = chosen(tokens[-1])

    def tighter(room: int | None) -> Keeping | None:
        less = min(int(largest.peak_bytes * TIGHTER), UNLIMITED if room is None else max(0, room))
        if trained.plans(less, trained.is_fused)(tokens[-1]).levels == largest.levels:
            return None
        line = f"activations: {less / GIB:.1f} GiB from now on"
        return _within(Budget(less, budget.room, line), trained, graph_tokens)

    return Keeping(
        run=run_directly
        if budget.num_bytes is None
        else _runner(trained.config, trained.blocks, trained.plans(limit, False)),
        levels_at=levels_of(chosen),
        graph_tokens=graph_tokens,
        lines=(
            *_lines(budget, trained.buckets, lambda bucket: chosen(tokens_of(bucket, trained.config))), *graphs,
        ),
        is_scarce=not largest.keeps_everything,
        tighter=tighter,
    )  # fmt: skip


def room_now(compute: Compute) -> int | None:
    """Bytes that activations could take beside everything that lies on the device; None on the CPU."""
    if compute.device.type != "cuda":
        return None
    return max(0, int((free_bytes(compute.device) - _reserve(compute)) * USABLE_SHARE))


def activation_budget(config: RunConfig, compute: Compute, num_trained: int, taken: int = 0) -> Budget:
    """Bytes for what blocks keep, by `training.gradient_checkpointing` and the memory that is free.

    `taken` is what will be loaded before the training begins and is not on the device yet.
    """
    mode = config.training.gradient_checkpointing
    amount = budget_gib(mode)
    if amount is not None:
        limit = int(amount * GIB)
        return Budget(limit, limit, f"activations: {mode} as set in training.gradient_checkpointing")
    if mode == "none" or (mode == "auto" and compute.device.type != "cuda"):
        return Budget(None, None, "activations: everything is kept")
    free = free_bytes(compute.device) - taken
    later = later_bytes(config, num_trained)
    usable = max(0, int((free - later - _reserve(compute)) * USABLE_SHARE))
    if mode == "full":
        return Budget(0, usable, "activations: as little as can be (training.gradient_checkpointing full)")
    return Budget(
        usable, usable,
        f"activations: {usable / GIB:.1f} GiB (training.gradient_checkpointing auto: {free / GIB:.1f} GiB are free, "
        f"{later / GIB:.1f} go to gradients, optimizer and workspace, {(free - later - usable) / GIB:.1f} stay free)",
    )  # fmt: skip


def _reserve(compute: Compute) -> int:
    """What is left alone of all that this run could take of its GPU."""
    return reserve_bytes(free_bytes(compute.device) + allocated_bytes(compute.device))


def most_graph_tokens(budget: Budget, plan: Callable[[int], LevelPlan], tokens: Sequence[int]) -> int:
    """The largest of these batches whose graph leaves room for the largest batch run without one, and for previews.

    Graphs of all shapes share their memory, which stays taken; a shape runs without a graph the first time.
    """
    if budget.room is None:
        return UNLIMITED
    room = budget.room - plan(max(tokens)).peak_bytes - DRAWING_BYTES
    fitting = [number for number in tokens if plan(number).peak_bytes <= room]
    return UNLIMITED if len(fitting) == len(tokens) else max(fitting, default=0)


def _graph_line(tokens: int) -> str:
    which = f"only up to {tokens} tokens a batch" if tokens else "none"
    return f"CUDA graphs: {which} (activations of a graph stay taken between steps, and there is no room for that)"


def later_bytes(config: RunConfig, num_trained: int) -> int:
    """What the first update allocates beside activations, and later ones keep."""
    average = trained_bytes(num_trained, ema=True) - trained_bytes(num_trained, ema=False)
    return (
        optimizer_bytes(num_trained, config.training.optimizer) + WORKSPACE_BYTES
        + (average if config.training.ema is not None else 0)
    )  # fmt: skip


def tokens_of(bucket: Bucket, config: RunConfig) -> int:
    """Tokens of a batch of this bucket with captions of `CAPTION_TOKENS`."""
    image = pad_to_multiple((bucket.width // 16) * (bucket.height // 16))
    return config.training.batch_size * (image + CAPTION_TOKENS)


def bytes_of_block(config: RunConfig, compute: Compute, sizes: ModelSizes, fused: bool) -> BlockBytes:
    """Per token of one main block."""
    element, float8 = compute.transformer_dtype.itemsize, compute.float8_products
    return block_bytes(sizes, fused=fused, rank=config.target.rank, element=element, float8=float8)


def _runner(config: RunConfig, blocks: Sequence[nn.Module], plan: Callable[[int], LevelPlan]) -> RunBlock:
    target = config.target
    draws = bool(target.dropout or target.rank_dropout or target.module_dropout)

    def run_again_at(batch: int, tokens: int) -> list[bool]:
        return [level != "everything" for level in plan(batch * tokens).levels]

    return selective_runner(blocks, run_again_at, preserve_rng=draws)


def _lines(budget: Budget, buckets: Sequence[Bucket], plan: Callable[[Bucket], LevelPlan]) -> tuple[str, ...]:
    """The budget, what the largest bucket comes to, and how many of the others keep everything."""
    if budget.num_bytes is None:
        return ()
    *smaller, largest = buckets
    line = f"activations at {largest.width} x {largest.height}: {plan(largest).describe()}"
    if smaller:
        whole = sum(plan(bucket).keeps_everything for bucket in smaller)
        line += f"; {whole} of {len(smaller)} smaller buckets keep everything"
    if plan(largest).fits or not budget.num_bytes:
        return budget.line, line
    return budget.line, line, (
        "warning: even so the largest bucket may not fit: lower training.batch_size or the datasets' resolutions, or "
        "keep the weights in fewer bits (quantization.transformer)"
    )  # fmt: skip

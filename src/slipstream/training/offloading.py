"""`quantization.layer_offloading` on this machine: which blocks stream, what that takes, and where it cannot work."""

from __future__ import annotations

import re
from dataclasses import dataclass

from slipstream.config.layer_offloading import AUTO, percent_of
from slipstream.config.run_config import RunConfig
from slipstream.core.errors import ConfigError
from slipstream.memory.estimate import ModelSizes, block_weights
from slipstream.memory.pinned import HostArena, Offload
from slipstream.memory.plan import GIB
from slipstream.memory.streaming import spread
from slipstream.models.z_image.family import ADAPTER_ROOT
from slipstream.models.z_image.fused_block import DOWN, OUT, QKV, UP
from slipstream.models.z_image.streamed import Streaming
from slipstream.training.device import Compute, available_host_bytes

HOST_SHARE = 0.9
"""Of the host memory that is free, what weights may take."""
_LINEAR = re.compile(rf"{ADAPTER_ROOT}\.(\d+)\.(.+)")
_WHERE = "quantization.layer_offloading"


@dataclass(frozen=True)
class Offloading:
    """The blocks that stream, and a line that says why.

    Attributes:
        streaming: the blocks by number.
        num_weights: numbers in the linears of all of them.
        num_bytes: what these take in host memory.
        line: for the log.
    """

    streaming: Streaming
    num_weights: int
    num_bytes: int
    line: str

    def __bool__(self) -> bool:
        return bool(self.streaming.blocks)

    def chosen(self, linear: str) -> bool:
        """Whether the weight of the transformer's linear of this name stays in host memory."""
        found = _LINEAR.fullmatch(linear)
        names = (*QKV, *OUT, *UP, *DOWN)
        return found is not None and int(found[1]) in self.streaming.blocks and found[2] in names

    def begin(self, compute: Compute, *, sides: int) -> Offload | None:
        """Where weights go while the model is loaded; None where none stays in host memory.

        `sides` is 2 where the weights without the training adapter wait there too.

        Raises:
            ConfigError: there is too little host memory.
        """
        if not self:
            return None
        needed, free = sides * self.num_bytes, available_host_bytes()
        if needed > HOST_SHARE * free:
            raise ConfigError(
                f"the offloaded blocks need {needed / GIB:.1f} GiB of host memory, and {free / GIB:.1f} GiB are free",
                where=_WHERE, fix="offload fewer blocks, or set quantization.transformer: float8.",
            )  # fmt: skip
        return Offload(self.chosen, HostArena(pinned=compute.device.type == "cuda"))


def choose_offloading(config: RunConfig, compute: Compute, sizes: ModelSizes, planned: int = 0) -> Offloading:
    """The blocks that a config offloads; `planned` is what auto stands for, in percent.

    Raises:
        ConfigError: they cannot stream, since they will not run as one function.
    """
    is_auto = config.quantization.layer_offloading == AUTO
    asked = planned if is_auto else percent_of(config.quantization.layer_offloading)
    number = round(asked * sizes.num_blocks / 100)
    if not number:
        why = "auto: the plan does without" if is_auto else f"as set in {_WHERE}"
        return Offloading(Streaming(), 0, 0, f"layer offloading: none ({why})")
    obstacle = obstacle_to_fusing(config, compute)
    if obstacle is not None:
        raise ConfigError(
            f"{asked} % of the blocks cannot stream from host memory: {obstacle}", where=_WHERE,
            fix="set it to 0; or train a plain LoRA without dropout on a GPU, in bf16 or with float8 products.",
        )  # fmt: skip
    why = "as planned" if is_auto else _WHERE
    streaming = Streaming(spread(number, sizes.num_blocks))
    weights = number * block_weights(sizes.widths)
    num_bytes = weights if compute.float8_products else weights * compute.transformer_dtype.itemsize
    slots = min(streaming.num_slots, number)
    return Offloading(
        streaming, weights, num_bytes,
        f"layer offloading: {number} of {sizes.num_blocks} blocks stay in host memory ({num_bytes / GIB:.1f} GiB) and "
        f"stream through {slots} slots of {num_bytes / number / GIB:.2f} GiB on the GPU ({why}: {asked} %)",
    )  # fmt: skip


def obstacle_to_fusing(config: RunConfig, compute: Compute) -> str | None:
    """What keeps the main blocks from running as one function, as far as settings tell (`fast_path` decides)."""
    target = config.target
    if target.type != "lora" or target.init == "pissa":
        return f"the LoRA is of another kind than a plain one ({target.type}, started by {target.init})"
    if target.dropout or target.rank_dropout or target.module_dropout:
        return "the LoRA has dropout"
    if compute.float8_products:
        return None
    if compute.transformer_scheme is not None:
        return f"weights in {compute.transformer_scheme} are made dense for every product"
    return None if compute.device.type == "cuda" else "fused blocks need a CUDA GPU, or float8 products"

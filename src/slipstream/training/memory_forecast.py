"""What a config's training will need on the device at its peak, before any weight is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from slipstream.data.buckets import Bucket
from slipstream.memory.estimate import (
    ModelSizes,
    Resident,
    StepMemory,
    arriving_bytes,
    joint_padding_bytes,
    optimizer_bytes,
    step_memory,
    trained_bytes,
    weight_bytes,
)
from slipstream.models.z_image.fused_linear import RANK_MULTIPLE
from slipstream.models.z_image.sizes import model_sizes
from slipstream.models.z_image.transformer_file import transformer_config
from slipstream.precision.schemes import SCHEMES
from slipstream.training.device import free_bytes
from slipstream.training.float8_path import TRANSPOSED_RESERVE
from slipstream.training.folding_stage import DENSE_RESERVE, PACKED_RESERVE
from slipstream.training.keeping import activation_budget, bytes_of_block, tokens_of
from slipstream.training.offloading import Offloading, obstacle_to_fusing
from slipstream.training.planning import num_trained
from slipstream.training.setting import Setting


@dataclass(frozen=True)
class MemoryForecast:
    """A step of the largest bucket."""

    bucket: Bucket
    memory: StepMemory

    @property
    def line(self) -> str:
        """`memory: about 21.4 GiB at 1024 x 1024 (...)`."""
        where = f"{self.bucket.width} x {self.bucket.height}"
        return f"memory: about {self.memory.describe().replace(' GiB', f' GiB at {where}', 1)}"


def expected_memory(setting: Setting) -> MemoryForecast:
    """The peak of an update; loading, caches and previews are apart from it and smaller, but for large previews."""
    config, compute = setting.config, setting.compute
    place = setting.model.parts.paths["transformer"]
    sizes = model_sizes(transformer_config(place))
    trained = num_trained(config, place)
    fused = runs_fused(setting)
    resident = Resident(
        weights=_weights(setting, sizes, fused),
        branches=trained_bytes(trained, ema=config.training.ema is not None) + _adapter_bytes(setting),
        optimizer=optimizer_bytes(trained, config.training.optimizer),
    )
    budget = activation_budget(config, compute, trained, taken=resident.weights + resident.branches)
    bucket = max((bucket for bucket, _, _ in setting.dataset.bucket_table()), key=lambda one: tokens_of(one, config))
    block = bytes_of_block(config, compute, sizes, fused)
    memory = step_memory(resident, block, sizes.num_blocks, tokens_of(bucket, config), budget.num_bytes)
    return MemoryForecast(bucket, memory)


def runs_fused(setting: Setting) -> bool:
    """Whether the main blocks will run as one function, as far as settings tell (`fast_path` decides)."""
    return obstacle_to_fusing(setting.config, setting.compute) is None


def _weights(setting: Setting, sizes: ModelSizes, fused: bool) -> int:
    """The frozen weights, with what the fast path holds beside them where there is room."""
    compute = setting.compute
    element = compute.transformer_dtype.itemsize
    bits = SCHEMES[compute.transformer_scheme].bits if compute.transformer_scheme else None
    weights = weight_bytes(sizes, element, bits)
    if not fused:
        return weights
    free, offloading = free_bytes(compute.device), setting.offloading
    weights += slots_bytes(offloading) - offloading.num_bytes
    second = (sizes.packable - offloading.num_weights) * (1 if compute.float8_products else element)
    if not compute.float8_products:
        padding = joint_padding_bytes(sizes, setting.config.target.rank, element, RANK_MULTIPLE)
        weights += padding + slots_bytes(offloading, padding // sizes.num_blocks) - slots_bytes(offloading)
        weights += arriving_bytes(sizes.widths, element) if offloading else 0
    if setting.plan is not None:
        choice = setting.plan.chosen.choice
        return weights + second * ((choice.adapter == "gpu") + (choice.transposed and compute.float8_products))
    if compute.float8_products:
        aside = second if setting.adapter is not None and free - second >= PACKED_RESERVE else 0
        return weights + aside + (second if free - weights - aside - second >= TRANSPOSED_RESERVE else 0)
    aside = second if setting.adapter is not None else 0
    return weights + (aside if free - weights - aside >= DENSE_RESERVE else 0)


def slots_bytes(offloading: Offloading, padding: int = 0) -> int:
    """What the slots of streaming blocks take on the device; `padding` of a block's joint matrices."""
    number = len(offloading.streaming.blocks)
    slots = min(offloading.streaming.num_slots, number)
    return slots * (offloading.num_bytes // number + padding) if number else 0


def _adapter_bytes(setting: Setting) -> int:
    """The training adapter's file is about as large as what is loaded of it."""
    return setting.adapter.stat().st_size if setting.adapter is not None else 0

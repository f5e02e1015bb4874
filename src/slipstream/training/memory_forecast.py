"""What a config's training will need on the device at its peak, before any weight is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from slipstream.data.buckets import Bucket
from slipstream.memory.candidate import Choice
from slipstream.memory.estimate import (
    ModelSizes,
    Resident,
    StepMemory,
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
from slipstream.training.device import Compute, free_bytes
from slipstream.training.float8_path import TRANSPOSED_RESERVE
from slipstream.training.folding_stage import DENSE_RESERVE, PACKED_RESERVE
from slipstream.training.keeping import activation_budget, bytes_of_block, tokens_of
from slipstream.training.planning import is_plain_lora, num_trained
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
    compute = setting.compute
    if not is_plain_lora(setting.config):
        return False
    return compute.float8_products or (compute.device.type == "cuda" and compute.transformer_scheme is None)


def _weights(setting: Setting, sizes: ModelSizes, fused: bool) -> int:
    """The frozen weights, with what the fast path holds beside them where there is room."""
    compute = setting.compute
    element = compute.transformer_dtype.itemsize
    bits = SCHEMES[compute.transformer_scheme].bits if compute.transformer_scheme else None
    weights = weight_bytes(sizes, element, bits)
    if not fused:
        return weights
    free = free_bytes(compute.device)
    if setting.plan is not None:
        return weights + _second_copies(setting.plan.chosen.choice, compute, sizes, setting.config.target.rank, element)
    if compute.float8_products:
        aside = sizes.packable if setting.adapter is not None and free - sizes.packable >= PACKED_RESERVE else 0
        transposed = sizes.packable if free - weights - aside - sizes.packable >= TRANSPOSED_RESERVE else 0
        return weights + aside + transposed
    weights += joint_padding_bytes(sizes, setting.config.target.rank, element, RANK_MULTIPLE)
    aside = sizes.packable * element if setting.adapter is not None else 0
    return weights + (aside if free - weights - aside >= DENSE_RESERVE else 0)


def _second_copies(choice: Choice, compute: Compute, sizes: ModelSizes, rank: int, element: int) -> int:
    """What the plan keeps on the device beside the weights as they are."""
    if compute.float8_products:
        return sizes.packable * ((choice.adapter == "gpu") + choice.transposed)
    aside = sizes.packable * element if choice.adapter == "gpu" else 0
    return joint_padding_bytes(sizes, rank, element, RANK_MULTIPLE) + aside


def _adapter_bytes(setting: Setting) -> int:
    """The training adapter's file is about as large as what is loaded of it."""
    return setting.adapter.stat().st_size if setting.adapter is not None else 0

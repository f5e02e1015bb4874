"""What a config's training will need on the device at its peak, before any weight is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from slipstream.data.buckets import Bucket
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
from slipstream.models.z_image.names import block_linears
from slipstream.models.z_image.sizes import linear_shape, model_sizes
from slipstream.models.z_image.transformer_file import transformer_config
from slipstream.precision.schemes import SCHEMES
from slipstream.training.device import free_bytes
from slipstream.training.float8_path import TRANSPOSED_RESERVE
from slipstream.training.folding_stage import DENSE_RESERVE, PACKED_RESERVE
from slipstream.training.keeping import activation_budget, bytes_of_block, tokens_of
from slipstream.training.setting import Setting
from slipstream.training.targets import chosen_linears


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
    shapes = [linear_shape(name, sizes.widths) for name in chosen_linears(config, block_linears(place))]
    num_trained = config.target.rank * sum(outputs + inputs for outputs, inputs in shapes)
    fused = runs_fused(setting)
    resident = Resident(
        weights=_weights(setting, sizes, fused),
        branches=trained_bytes(num_trained, ema=config.training.ema is not None) + _adapter_bytes(setting),
        optimizer=optimizer_bytes(num_trained, config.training.optimizer),
    )
    budget = activation_budget(config, compute, num_trained, taken=resident.weights + resident.branches)
    bucket = max((bucket for bucket, _, _ in setting.dataset.bucket_table()), key=lambda one: tokens_of(one, config))
    block = bytes_of_block(config, compute, sizes, fused)
    memory = step_memory(resident, block, sizes.num_blocks, tokens_of(bucket, config), budget.num_bytes)
    return MemoryForecast(bucket, memory)


def runs_fused(setting: Setting) -> bool:
    """Whether the main blocks will run as one function, as far as settings tell (`fast_path` decides)."""
    target, compute = setting.config.target, setting.compute
    plain = target.type == "lora" and target.init != "pissa"
    drops = target.dropout or target.rank_dropout or target.module_dropout
    if not plain or drops:
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
    if compute.float8_products:
        aside = sizes.packable if setting.adapter is not None and free - sizes.packable >= PACKED_RESERVE else 0
        transposed = sizes.packable if free - weights - aside - sizes.packable >= TRANSPOSED_RESERVE else 0
        return weights + aside + transposed
    weights += joint_padding_bytes(sizes, setting.config.target.rank, element, RANK_MULTIPLE)
    aside = sizes.packable * element if setting.adapter is not None else 0
    return weights + (aside if free - weights - aside >= DENSE_RESERVE else 0)


def _adapter_bytes(setting: Setting) -> int:
    """The training adapter's file is about as large as what is loaded of it."""
    return setting.adapter.stat().st_size if setting.adapter is not None else 0

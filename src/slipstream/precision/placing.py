"""Filling a model that has no weights yet, one tensor at a time: each is quantized or cast, and placed.

Never more than one dense tensor is alive beside what stays and what `reading` has ready.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slipstream.precision.linear import QuantizedLinear
from slipstream.precision.schemes import FLOAT8_SCHEME, SCHEMES, Packed

Watch = Callable[[str, Tensor], None]
"""Sees dense weights that are about to be packed."""

Weight = Tensor | Packed
"""A weight to place: numbers of any float type, or the float8 codes and scales of a file that has them already."""


@dataclass(frozen=True)
class Placement:
    """Where weights go and how they are kept.

    Attributes:
        device: where the model will live.
        dtype: precision of everything that is not packed, and of the matmuls.
        scheme: name of the scheme for the chosen linears, or None to keep them in `dtype`.
        chosen: whether the linear of this module name is packed.
        watch: gets the module name and the dense weight, on the device, of every linear that is packed from one.
    """

    device: torch.device
    dtype: torch.dtype
    scheme: str | None = None
    chosen: Callable[[str], bool] = lambda name: True
    watch: Watch = lambda name, weight: None


def place_weights(model: nn.Module, weights: Iterable[tuple[str, Weight]], placement: Placement) -> list[str]:
    """Give a model on the meta device its weights, frozen; returns the keys that it has no place for.

    Buffers that no file holds must already be there; they move to the device. Packed weights are only for linears
    that are `chosen`, with the scheme `float8`.

    Raises:
        ValueError: a shape differs, or a weight is missing; the message names some.
    """
    wanted = dict(model.named_parameters()) | dict(model.named_buffers())
    unknown: list[str] = []
    placed: set[str] = set()
    for key, weight in weights:
        if key not in wanted:
            unknown.append(key)
            continue
        shape = (weight if isinstance(weight, Tensor) else weight["codes"]).shape
        if shape != wanted[key].shape:
            raise ValueError(f"{key} has the shape {tuple(shape)}, expected {tuple(wanted[key].shape)}")
        if isinstance(weight, Tensor):
            _place(model, key, weight, placement)
        else:
            _place_packed(model, key, weight, placement)
        placed.add(key)
        del weight  # before the next one is asked for
    missing = sorted(key for key, value in wanted.items() if key not in placed and value.is_meta)
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if missing[3:] else "")
        raise ValueError(f"{len(missing)} weights are missing: {shown}")
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(placement.device))
    return unknown


def _place(model: nn.Module, key: str, tensor: Tensor, placement: Placement) -> None:
    module_name, _, leaf = key.rpartition(".")
    module = model.get_submodule(module_name)
    on_device = tensor.to(placement.device)
    if isinstance(module, QuantizedLinear):
        setattr(module, leaf, on_device.to(placement.dtype))
    elif placement.scheme and leaf == "weight" and isinstance(module, nn.Linear) and placement.chosen(module_name):
        placement.watch(module_name, on_device)
        scheme = SCHEMES[placement.scheme]
        model.set_submodule(module_name, QuantizedLinear.of(on_device, scheme, placement.dtype, module.bias))
    elif leaf in module._parameters:
        module._parameters[leaf] = nn.Parameter(on_device.to(placement.dtype), requires_grad=False)
    else:
        setattr(module, leaf, on_device)


def _place_packed(model: nn.Module, key: str, packed: Packed, placement: Placement) -> None:
    name = key.rpartition(".")[0]
    out_features, in_features = packed["codes"].shape
    on_device = {part: tensor.to(placement.device) for part, tensor in packed.items()}
    bias = model.get_submodule(name).bias
    linear = QuantizedLinear(on_device, SCHEMES[FLOAT8_SCHEME], in_features, out_features, placement.dtype, bias)  # type: ignore[arg-type]
    model.set_submodule(name, linear)


def count_quantized(model: nn.Module) -> tuple[int, int]:
    """(packed linears, linears in all)."""
    packed = sum(isinstance(module, QuantizedLinear) for module in model.modules())
    return packed, packed + sum(isinstance(module, nn.Linear) for module in model.modules())


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all weights as they are kept."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.nbytes for tensor in tensors)

"""Filling a model that has no weights yet, one tensor at a time: each is quantized or cast, and placed.

Never more than one dense tensor is alive beside what stays and what `reading` has ready.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slipstream.memory.pinned import Offload
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
        offload: linears whose weights stay in host memory, dense ones or codes; None where none does. Such a linear
            says in `computes_on` which device it is for.
    """

    device: torch.device
    dtype: torch.dtype
    scheme: str | None = None
    chosen: Callable[[str], bool] = lambda name: True
    watch: Watch = lambda name, weight: None
    offload: Offload | None = None

    def stays(self, linear: str) -> bool:
        """Whether the weight of the linear of this name stays in host memory."""
        return self.offload is not None and self.offload.chosen(linear)


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
        stays = hasattr(module, "computes_on")
        for name, buffer in module.named_buffers(recurse=False):
            if not (stays and name == "codes"):
                setattr(module, name, buffer.to(placement.device))
    return unknown


def _place(model: nn.Module, key: str, tensor: Tensor, placement: Placement) -> None:
    module_name, _, leaf = key.rpartition(".")
    module = model.get_submodule(module_name)
    if placement.scheme is None and leaf == "weight" and placement.stays(module_name):
        return _keep(module, leaf, tensor.to(placement.dtype), placement)
    on_device = tensor.to(placement.device)
    if isinstance(module, QuantizedLinear):
        setattr(module, leaf, on_device.to(placement.dtype))
    elif placement.scheme and leaf == "weight" and isinstance(module, nn.Linear) and placement.chosen(module_name):
        placement.watch(module_name, on_device)
        packed = QuantizedLinear.of(on_device, SCHEMES[placement.scheme], placement.dtype, module.bias)
        model.set_submodule(module_name, packed)
        if placement.stays(module_name):
            _keep(packed, "codes", packed.packed["codes"], placement)
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
    if placement.stays(name):
        _keep(linear, "codes", linear.packed["codes"], placement)


def _keep(linear: nn.Module, leaf: str, tensor: Tensor, placement: Placement) -> None:
    """Let a linear hold this in host memory."""
    assert placement.offload is not None
    held = placement.offload.arena.hold(tensor)
    setattr(linear, leaf, nn.Parameter(held, requires_grad=False) if leaf in linear._parameters else held)
    linear.computes_on = placement.device  # type: ignore[assignment]


def count_quantized(model: nn.Module) -> tuple[int, int]:
    """(packed linears, linears in all)."""
    packed = sum(isinstance(module, QuantizedLinear) for module in model.modules())
    return packed, packed + sum(isinstance(module, nn.Linear) for module in model.modules())


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all weights as they are kept."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.nbytes for tensor in tensors)

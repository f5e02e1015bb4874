"""Whether the training adapter goes into the weights, and where the weights without it wait for previews."""

from __future__ import annotations

from dataclasses import replace

import torch

from slipstream.adapters.files import load_lora
from slipstream.adapters.folding import Folded, FoldedBranches, FoldedPacks, dense_hosts, folded_bytes
from slipstream.adapters.training_adapter import TrainingAdapter
from slipstream.memory.pinned import Offload
from slipstream.precision.schemes import FLOAT8_SCHEME
from slipstream.training.device import Compute, available_host_bytes, free_bytes
from slipstream.training.setting import Setting

DENSE_RESERVE = 32 * 2**30
"""Bytes that must stay free on the GPU for activations, if dense weights without the adapter are to lie there too."""
PACKED_RESERVE = 48 * 2**30
"""The same for float8 codes, before the model is loaded, which is counted in."""


def packs_to_fold(setting: Setting, offload: Offload | None = None) -> FoldedPacks | None:
    """What packs the sums of weights and training adapter while the transformer is read; None where nothing is packed
    in float8 and multiplied so, or there is no room for codes twice."""
    compute = setting.compute
    if setting.adapter is None or compute.transformer_scheme != FLOAT8_SCHEME or not compute.float8_products:
        return None
    far = setting.offloading.num_bytes if offload is not None else 0
    keep_on = _place(compute, setting.model.num_weights - far, PACKED_RESERVE)
    if keep_on is None or (far and available_host_bytes() < 1.5 * 2 * far):
        return None
    return FoldedPacks(load_lora(setting.adapter).modules, FLOAT8_SCHEME, keep_on, offload)


def fold_adapter(
    adapter: TrainingAdapter, packs: FoldedPacks | None, compute: Compute, offload: Offload | None = None
) -> tuple[TrainingAdapter, str]:
    """The training adapter with what could be folded of it, and a line that says what became of it.

    Blocks that stream have both sides in host memory, and change sides by being told to fetch from the other.
    """
    branches = adapter.branches
    if branches is None:
        return adapter, "training adapter: none to add"
    dense = dense_hosts(branches)
    packed = packs is not None and packs.fits(branches)
    if len(dense) < len(branches.branches) and not packed:
        return adapter, "training adapter: beside the weights, which are packed or have no room for a second copy"
    far = folded_bytes(branches, [name for name in dense if offload is not None and offload.chosen(name)])
    needed = folded_bytes(branches, dense)
    keep_on = _place(compute, needed - far, DENSE_RESERVE)
    if keep_on is None or (far and available_host_bytes() < 1.5 * far):
        gib = f"{needed / 2**30:.1f} GiB"
        return adapter, f"training adapter: beside the weights (no room for the {gib} that come back for previews)"
    folded: list[Folded] = [FoldedBranches(branches, dense, keep_on, offload)]
    if packs is not None and packed:
        packs.fold_into(branches)
        folded.append(packs)
        needed += packs.num_bytes
    where = "the GPU" if keep_on.type == "cuda" else "host memory"
    where += ", those of offloaded blocks in host memory," if offload is not None else ""
    how = "before they were packed, " if packed else ""
    return replace(adapter, folded=tuple(folded)), (
        f"training adapter: added into the weights ({how}it costs no time; {needed / 2**30:.1f} GiB of weights without "
        f"it stay in {where} and come back bit for bit for previews)"
    )


def _place(compute: Compute, needed: int, reserve: int) -> torch.device | None:
    """Where the weights without the adapter wait: as planned, else where there is room; None keeps it beside them."""
    if compute.adapter_on is None:
        return _room(needed, compute.device, reserve)
    return {"gpu": compute.device, "host": torch.device("cpu")}.get(compute.adapter_on)


def _room(needed: int, device: torch.device, reserve: int) -> torch.device | None:
    """Where so many bytes fit: on the GPU beside the reserve, else in host memory, else nowhere."""
    if device.type == "cpu" or free_bytes(device) - needed >= reserve:
        return device
    return torch.device("cpu") if available_host_bytes() >= 1.5 * needed else None

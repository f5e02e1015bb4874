"""An optimizer's state into a checkpoint and back, bit for bit, and its weights as they are meant to be used."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Named = Sequence[tuple[str, nn.Parameter]]


def pack_optimizer(optimizer: torch.optim.Optimizer, named: Named) -> dict[str, Any]:
    """Everything that changed since it was made, its class, and which parameters stand in which group."""
    return {"class": type(optimizer).__name__, "members": _members(optimizer, named), **optimizer.state_dict()}


def optimizer_misfit(packed: Mapping[str, Any], optimizer: torch.optim.Optimizer, named: Named) -> str | None:
    """Why a saved state is not this optimizer's, or None."""
    saved, here = packed["class"], type(optimizer).__name__
    if saved != here:
        return f"the state was saved by {saved}, this run uses {here}: training.optimizer was changed"
    if packed["members"] != _members(optimizer, named):
        return (
            "the saved optimizer has its parameters in other groups: training.module_learning_rates or "
            "target.lora_plus_ratio was changed"
        )
    return None


def _members(optimizer: torch.optim.Optimizer, named: Named) -> list[list[str]]:
    names = {id(parameter): name for name, parameter in named}
    return [[names[id(parameter)] for parameter in group["params"]] for group in optimizer.param_groups]


def restore_optimizer(optimizer: torch.optim.Optimizer, packed: Mapping[str, Any]) -> None:
    """Load a state that fits. Settings stay as the config has them; what an optimizer found out comes from the file.

    Every tensor keeps the precision it was saved in: torch would turn a state kept in bf16 into fp32, and training
    would go on a little differently.
    """
    keys = _setting_keys(optimizer)
    wanted = [{key: group[key] for key in keys & group.keys()} for group in optimizer.param_groups]
    optimizer.load_state_dict({"state": packed["state"], "param_groups": packed["param_groups"]})
    for group, values in zip(optimizer.param_groups, wanted, strict=True):
        group.update(values)
    order = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, saved in packed["state"].items():
        state = optimizer.state[order[int(index)]]
        for key, value in saved.items():
            loaded = state.get(key)
            if isinstance(value, Tensor) and isinstance(loaded, Tensor) and loaded.dtype != value.dtype:
                state[key] = value.to(loaded.device, copy=True)


def _setting_keys(optimizer: torch.optim.Optimizer) -> set[str]:
    """Group entries that are constructor arguments: `betas` is one, the `d` that Prodigy finds is none."""
    return {*inspect.signature(type(optimizer)).parameters, "lr_factor"} - {"params"}


@contextmanager
def averaged(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """The weights a schedule-free optimizer means to be used, for the length of a block; others: as they are.

    Its own way back is an interpolation, which rounds. Here the very tensors come back, so that a preview, a save or
    a validation leaves no trace in training.
    """
    if not is_averaging(optimizer):
        yield
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    originals = [parameter.data for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.data = parameter.data.clone()
        optimizer.eval()  # type: ignore[attr-defined]
        yield
    finally:
        optimizer.train()  # type: ignore[attr-defined]
        for parameter, original in zip(parameters, originals, strict=True):
            parameter.data = original


def is_averaging(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it keeps training weights and used weights apart."""
    return any("train_mode" in group for group in optimizer.param_groups) and hasattr(optimizer, "eval")

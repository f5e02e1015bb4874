"""The LoRA's gradients as one flat tensor: one kernel clears, measures or scales what would take hundreds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FlatGradients:
    """Gradients of a list of parameters side by side; each parameter's `grad` is a view that backward passes add to.

    Args:
        parameters: all on one device; one flat tensor is kept per dtype (they are fp32 in a training).
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = list(parameters)
        self._flats: list[Tensor] = []
        self._views: list[Tensor] = []
        for dtype in dict.fromkeys(parameter.dtype for parameter in self._parameters):
            self._flats.append(self._flat(dtype))
        self._attach()

    def _flat(self, dtype: torch.dtype) -> Tensor:
        members = [parameter for parameter in self._parameters if parameter.dtype == dtype]
        flat = torch.zeros(sum(one.numel() for one in members), dtype=dtype, device=members[0].device)
        for parameter, part in zip(members, flat.split([one.numel() for one in members]), strict=True):
            parameter.grad = part.view_as(parameter)
        return flat

    def _attach(self) -> None:
        if not self._views:
            self._views = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        for parameter, view in zip(self._parameters, self._views, strict=True):
            if parameter.grad is not view:
                parameter.grad = view

    def zero(self) -> None:
        """Clear all; a parameter that lost its view gets it back."""
        self._attach()
        for flat in self._flats:
            flat.zero_()

    def norm(self) -> Tensor:
        """The norm of all gradients as one vector, fp32, on their device."""
        norms = [torch.linalg.vector_norm(flat, dtype=torch.float32) for flat in self._flats]
        return norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))

    def clip(self, norm: Tensor, limit: float) -> None:
        """Scale all so that their norm, which is `norm` now, is at most `limit`; no wait for the device."""
        factor = (limit / (norm + 1e-6)).clamp(max=1.0)
        for flat in self._flats:
            flat.mul_(factor)

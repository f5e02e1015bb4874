"""Attention inside a function whose backward pass is written by hand, with operands that may be dropped in between.

Autograd runs the chosen kernel's own backward pass, but query, key and value stand on a shelf of ours instead of in its
graph: they can be taken off after the forward pass and put back, made again bit for bit, before the backward pass.

Shape legend: B batch, H heads, S tokens, E width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge, saved_tensors_hooks

from slipstream.kernels.attention import Attend

Operands = tuple[Tensor, Tensor, Tensor]
"""Query, key, value, each (B, H, S, E)."""


class Attended:
    """Attention's output `mixed` (B, H, S, E) with its graph, and the shelf of its operands."""

    def __init__(self, mixed: Tensor, roots: list[Any], shelf: dict[int, Tensor]) -> None:
        self.mixed = mixed
        self._roots = roots
        self._shelf = shelf

    def drop(self) -> None:
        """Take query, key and value off the shelf."""
        self._shelf.clear()

    def restore(self, operands: Operands) -> None:
        """Put back what they were."""
        self._shelf.update(enumerate(operands))

    def backward(self, d_mixed: Tensor) -> Operands:
        """Gradients of query, key and value."""
        d_query, d_key, d_value = torch.autograd.grad(self.mixed, self._roots, d_mixed)
        return d_query, d_key, d_value


def attended(attend: Attend, query: Tensor, key: Tensor, value: Tensor) -> Attended:
    """Attention of operands that have no graph of their own."""
    shelf = dict(enumerate((query, key, value)))
    places = {(tensor.data_ptr(), tensor.shape): index for index, tensor in shelf.items()}

    def put(tensor: Tensor) -> Tensor | int:
        # the output as it is would hold the graph that holds it
        return places.get((tensor.data_ptr(), tensor.shape), tensor.detach())

    def take(found: Tensor | int) -> Tensor:
        return shelf[found] if isinstance(found, int) else found

    anchor = torch.empty(0, device=query.device, requires_grad=True)
    with torch.enable_grad(), saved_tensors_hooks(put, take):
        operands = _Roots.apply(anchor, query, key, value)
        roots = [get_gradient_edge(operand) for operand in operands]
        mixed = attend(*operands)
    return Attended(mixed, roots, shelf)


class _Roots(torch.autograd.Function):
    """Where the little graph begins: as a node of its own it holds no operand, which a leaf would."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, *operands: Tensor) -> tuple[Tensor, ...]:
        return tuple(operand.view_as(operand) for operand in operands)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (None,) * 4

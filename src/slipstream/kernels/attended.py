"""Attention inside a function whose backward pass is written by hand, with operands that may be dropped in between.

Autograd runs the chosen kernel's own backward pass, but query, key and value stand on a shelf of ours instead of in its
graph: they can be taken off after the forward pass and put back, made again bit for bit, before the backward pass.

Samples of different lengths are attended to one by one, so that no kernel needs a mask.

Shape legend: B batch, H heads, S tokens, E width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge, saved_tensors_hooks

from slipstream.kernels.attention import Attend

Operands = tuple[Tensor, Tensor, Tensor]
"""Query, key, value, each (B, H, S, E)."""
_Cut = tuple[slice, slice]
"""Samples and tokens that one call of the kernel takes."""


class Attended:
    """Attention's output `mixed` (B, H, S, E) with its graph, and the shelf of its operands."""

    def __init__(
        self, mixed: Tensor, outputs: list[Tensor], roots: list[Any], shelf: dict[int, Tensor], cuts: list[_Cut]
    ) -> None:
        self.mixed = mixed
        self._outputs = outputs
        self._roots = roots
        self._shelf = shelf
        self._cuts = cuts

    def drop(self) -> None:
        """Take query, key and value off the shelf."""
        self._shelf.clear()

    def restore(self, operands: Operands) -> None:
        """Put back what they were."""
        self._shelf.update(enumerate(operands))

    def backward(self, d_mixed: Tensor) -> Operands:
        """Gradients of query, key and value."""
        d_outputs = [_part(d_mixed, cut) for cut in self._cuts]
        found = torch.autograd.grad(self._outputs, self._roots, d_outputs)
        d_query, d_key, d_value = (_whole(found[part::3], self._cuts, d_mixed) for part in range(3))
        return d_query, d_key, d_value


def attended(
    attend: Attend, query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int] | None = None
) -> Attended:
    """Attention of operands that have no graph of their own.

    `lengths` are the samples' tokens where they differ: those behind take no part, and nothing is mixed for them.
    """
    cuts = [(slice(None), slice(None))]
    if lengths is not None:
        cuts = [(slice(sample, sample + 1), slice(length)) for sample, length in enumerate(lengths)]
    shelf = dict(enumerate((query, key, value)))
    parts = [_part(operand, cut) for cut in cuts for operand in (query, key, value)]
    places = {(part.data_ptr(), part.shape): divmod(index, 3) for index, part in enumerate(parts)}

    def put(tensor: Tensor) -> Tensor | tuple[int, int]:
        # the output as it is would hold the graph that holds it
        return places.get((tensor.data_ptr(), tensor.shape), tensor.detach())

    def take(found: Tensor | tuple[int, int]) -> Tensor:
        return found if isinstance(found, Tensor) else _part(shelf[found[1]], cuts[found[0]])

    anchor = torch.empty(0, device=query.device, requires_grad=True)
    with torch.enable_grad(), saved_tensors_hooks(put, take):
        operands = _Roots.apply(anchor, *parts)
        roots = [get_gradient_edge(operand) for operand in operands]
        outputs = [attend(*operands[first : first + 3]) for first in range(0, len(operands), 3)]
    return Attended(_whole([output.detach() for output in outputs], cuts, query), outputs, roots, shelf, cuts)


def _part(operand: Tensor, cut: _Cut) -> Tensor:
    samples, tokens = cut
    return operand[samples, :, tokens]


def _whole(parts: Sequence[Tensor], cuts: list[_Cut], like: Tensor) -> Tensor:
    """The parts at their places in (B, H, S, E), which lies token by token in memory; zeros where there is none."""
    if len(cuts) == 1 and cuts[0][1] == slice(None):
        return parts[0]
    batch, heads, tokens, width = like.shape
    whole = parts[0].new_zeros(batch, tokens, heads, width).transpose(1, 2)
    for part, cut in zip(parts, cuts, strict=True):
        _part(whole, cut).copy_(part)
    return whole


class _Roots(torch.autograd.Function):
    """Where the little graph begins: as a node of its own it holds no operand, which a leaf would."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, *operands: Tensor) -> tuple[Tensor, ...]:
        return tuple(operand.view_as(operand) for operand in operands)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *(None for _ in gradients))

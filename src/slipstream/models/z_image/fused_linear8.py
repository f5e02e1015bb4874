"""Frozen float8 linears of one input as one matrix whose products are float8, with low-rank branches in bf16.

The weights are codes C (N, K) with a scale s for every row, as `precision.schemes.pack_float8` makes them, so that
W = s * C. Both passes multiply these very codes:

forward   h = x A',    y   = (x8 C') * scale_x * s + h B'           x   = x8 * scale_x
backward  d_h = d_y B, d_x = (g8 C) * scale_g      + d_h A          s * d_y = g8 * scale_g

In the backward pass the sum goes over the rows of W, so their scales cannot wait until after it: they are folded into
the gradient before that becomes codes, one rounding instead of two. h and d_h are computed in bf16 from what was not
rounded to float8.

Shape legend: R rows (batch times tokens), K inputs, N outputs of all members, P ranks of all branches, padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import Any, cast

import torch
from torch import Tensor, nn

from slipstream.kernels.copies import Copy
from slipstream.kernels.float8 import Multiply, Product
from slipstream.kernels.row_output import Normed, RowOutput
from slipstream.memory.streaming import Piece, Space, space_bytes
from slipstream.models.z_image.fused_linear import (
    Beside,
    FusedLinear,
    branch_copies,
    branch_gradients,
    places_of,
    ranks_of,
)
from slipstream.precision.linear import QuantizedLinear


class FusedLinear8:
    """What `FusedLinear` is for dense weights: the same members, over float8 codes.

    The linears' codes and scales become views of the joint ones, so that they work as before.

    Args:
        linears: without bias, of the scheme float8, all reading the same input.
        beside: the branches beside each of them.
        multiply: the product (`kernels.float8`).
        keep_transposed: hold the codes a second time, transposed: float8 tensor cores read both operands along the
            sum, which goes over N in the backward pass. Without it they are transposed at every use.
        slot: the codes stay where they are and visit this memory (`memory.streaming`); they are transposed at every
            use, since a second copy would have to come from the host or take a slot twice as large.
    """

    def __init__(
        self, linears: Sequence[QuantizedLinear], beside: Sequence[Beside], multiply: Multiply, *,
        keep_transposed: bool = True, slot: Space | None = None,
    ) -> None:  # fmt: skip
        self.num_inputs = linears[0].in_features
        self.num_outputs = sum(linear.out_features for linear in linears)
        self.multiply = multiply
        self.places = places_of(linears, beside)
        self.trained_ranks, padded = ranks_of(self.places)
        dtype, device = linears[0].dtype, linears[0].device if slot is None else slot.device
        self._down_PK = torch.zeros(padded, self.num_inputs, dtype=dtype, device=device)
        self._up_NP = torch.zeros(self.num_outputs, padded, dtype=dtype, device=device)
        codes, scales = ([linear.packed[name] for linear in linears] for name in ("codes", "scale"))
        shape = self.num_outputs, self.num_inputs
        self.codes = torch.cat(codes) if slot is None else slot.tensor(shape, codes[0].dtype)
        self.columns = torch.cat(scales).flatten().to(device, torch.float32)
        self._ones = torch.ones(self.num_inputs, dtype=torch.float32, device=device)
        self._transposed = self.codes.T.contiguous() if keep_transposed and slot is None else None
        self._pieces: list[Piece] = []
        for linear, stop in zip(linears, accumulate(linear.out_features for linear in linears), strict=True):
            rows = slice(stop - linear.out_features, stop)
            linear.scale = self.columns[rows].unsqueeze(1)
            if slot is None:
                linear.codes = self.codes[rows]
            else:
                self._pieces.append(Piece(partial(getattr, linear, "codes"), self.codes[rows]))

    @property
    def trained(self) -> list[Tensor]:
        """A and B of every trained branch, in order."""
        return [part for place in self.places if place.is_trained for part in (place.branch.a, place.branch.b)]

    def copies(self) -> list[Copy]:
        """What brings the joint A and B up to date with the branches and their switches."""
        return branch_copies(self.places, self._down_PK, self._up_NP)

    def pieces(self) -> list[Piece]:
        """What a slot has to be filled with before it is read; none without a slot."""
        return self._pieces

    def edges(self) -> list[Copy]:
        """Nothing: the branches are apart from the codes."""
        return []

    def input_space(self, rows: int) -> RowOutput:
        """Empty (R, K) rows, and as many codes."""
        return self._space(rows, self.num_inputs, 0, None)

    def output_space(self, rows: int) -> RowOutput:
        """Empty (R, N + P) rows whose first N columns are the place of the output's gradient, and as many codes."""
        return self._space(rows, self.num_outputs, self._up_NP.shape[1], self.columns)

    def _space(self, rows: int, dense: int, ranks: int, columns: Tensor | None) -> RowOutput:
        device = self.codes.device
        buffer = torch.empty(rows, dense + ranks, dtype=self._up_NP.dtype, device=device)
        codes = torch.empty(rows, dense, dtype=self.codes.dtype, device=device)
        scale = torch.empty(rows, 1, dtype=torch.float32, device=device)
        return RowOutput(buffer, buffer[:, :dense], codes, scale, columns)

    def forward(self, space: RowOutput) -> tuple[Tensor, Tensor]:
        """(y (R, N), h (R, trained ranks)) of an input space that is filled."""
        h = space.dense @ self._down_PK.T
        return self._product(space, h, self.codes, self.columns, self._up_NP), h[:, : self.trained_ranks]

    def backward_ranks(self, space: RowOutput) -> None:
        """Write d_h beside the first N columns of an output space, which are filled; `gradients` needs no more."""
        if self.places:
            torch.mm(space.dense, self._up_NP, out=space.whole[:, self.num_outputs :])

    def backward_input(self, space: RowOutput) -> Tensor:
        """d_x (R, K) of an output space that is filled; d_h is written beside its first N columns."""
        self.backward_ranks(space)
        transposed = self.codes.T.contiguous() if self._transposed is None else self._transposed
        return self._product(space, space.whole[:, self.num_outputs :], transposed, self._ones, self._down_PK.T)

    def _product(self, space: RowOutput, h: Tensor, weight: Tensor, columns: Tensor, up: Tensor) -> Tensor:
        codes, scale = cast(Tensor, space.codes), cast(Tensor, space.scale)
        low_rank = (h, up) if self.places else (None, None)
        return self.multiply(codes, scale, weight, columns, *low_rank)

    def gradients(self, space: RowOutput, x: Tensor | Normed, h_RP: Tensor) -> list[Tensor]:
        """Gradients of `trained` after `backward_input`, in their dtypes; x (R, K) is the input."""
        d_h = space.whole[:, self.num_outputs :]
        return branch_gradients(self.places, space.dense, d_h[:, : self.trained_ranks], x, h_RP)


JointLinear = FusedLinear | FusedLinear8
"""Either has the same members."""


def joint_linear(
    linears: Sequence[nn.Module], beside: Sequence[Beside], multiply: Multiply | None, *,
    keep_transposed: bool = True, slot: Space | None = None,
) -> JointLinear:  # fmt: skip
    """The linears as one: in float8 where they are kept so and a float8 product is there; visiting a slot if there is.

    Raises:
        TypeError: the linears are of several kinds, or packed in a way that no product here multiplies.
    """
    if all(isinstance(linear, nn.Linear) for linear in linears):
        return FusedLinear([cast(nn.Linear, linear) for linear in linears], beside, slot)
    packed = [linear for linear in linears if isinstance(linear, QuantizedLinear) and linear.scheme.name == "float8"]
    if len(packed) < len(linears) or multiply is None:
        kinds = sorted({type(linear).__name__ for linear in linears})
        raise TypeError(f"linears of one input as {', '.join(kinds)}: expected all dense, or all float8 and a product")
    return FusedLinear8(packed, beside, multiply, keep_transposed=keep_transposed, slot=slot)


def slot_bytes(linears: Sequence[Any], beside: Sequence[Beside]) -> int:
    """What such linears take of a slot."""
    outputs, inputs = sum(linear.out_features for linear in linears), linears[0].in_features
    if isinstance(linears[0], QuantizedLinear):
        return space_bytes(outputs * inputs * linears[0].packed["codes"].itemsize)
    _, ranks = ranks_of(places_of(linears, beside))
    return space_bytes((outputs + ranks) * (inputs + ranks) * linears[0].weight.itemsize)


def products_of(linears: Sequence[Any], beside: Sequence[Beside]) -> list[Product]:
    """The forward and the backward product of linears of one input, to have the fastest way found before they exist."""
    outputs, inputs = sum(linear.out_features for linear in linears), linears[0].in_features
    _, ranks = ranks_of(places_of(linears, beside))
    return [Product(outputs, inputs, ranks), Product(inputs, outputs, ranks)]

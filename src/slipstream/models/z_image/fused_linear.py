"""Frozen linears of one input as one matrix, with their low-rank branches inside it.

y = W x + B A x for several linears that read the same x (q, k, v; w1, w3). One matrix holds all of it:

    J = [ W  B ]    W (N, K) the linears, B (N, P) each branch's B times its scale where its rows and ranks meet,
        [ A  0 ]    A (P, K) every branch's A

forward   h = x A',  y = [x | h] [W | B]'      backward   d_h = d_y B,  d_x = [d_y | d_h] [W ; A]

so the branches cost no pass over y and none over d_x. P is padded to a multiple of 64, which matrix kernels like.

Shape legend: R rows (batch times tokens), K inputs, N outputs of all members, P ranks of all branches, padded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor, nn

from slipstream.kernels.copies import Copy
from slipstream.kernels.row_output import Normed, RowOutput
from slipstream.memory.streaming import Piece, Space

RANK_MULTIPLE = 64


class LowRankBranch(Protocol):
    """A branch b a x times `scale`; its parameters may be trained, and it may be switched off."""

    a: nn.Parameter
    b: nn.Parameter
    enabled: bool

    @property
    def scale(self) -> float:
        """The factor on b a x."""


class HasOutputs(Protocol):
    """A linear, whatever keeps its weight."""

    out_features: int


Beside = Mapping[str, LowRankBranch]
"""The branches beside a linear by role; it may come to hold other branches of the same roles and ranks."""


@dataclass(frozen=True)
class Place:
    """Where a branch sits: rows of N and ranks of P."""

    beside: Beside
    role: str
    rows: slice
    ranks: slice
    is_trained: bool

    @property
    def branch(self) -> LowRankBranch:
        """The branch that is there now."""
        return self.beside[self.role]

    @property
    def factor(self) -> float:
        """Its scale, or 0 while it is switched off."""
        branch = self.branch
        return branch.scale if branch.enabled else 0.0


class FusedLinear:
    """Linears without bias that share their input, each with any number of branches.

    The linears' weights become views of the joint matrix, so nothing is held twice and they work as before. With a
    `slot` the weights stay where they are and visit the slot (`memory.streaming`), which holds the joint matrix; what
    of it belongs to the branches waits beside it on the device and has to follow the weights (`edges`).
    """

    def __init__(self, linears: Sequence[nn.Linear], beside: Sequence[Beside], slot: Space | None = None) -> None:
        first = linears[0].weight
        self.num_inputs = first.shape[1]
        self.num_outputs = sum(linear.out_features for linear in linears)
        self.places = places_of(linears, beside)
        self.trained_ranks, padded = ranks_of(self.places)
        shape = (self.num_outputs + padded, self.num_inputs + padded)
        self._pieces: list[Piece] = []
        if slot is None:
            self.joint = torch.zeros(shape, dtype=first.dtype, device=first.device)
            self._current = self._down_PK, self._up_NP
        else:
            self.joint = slot.tensor(shape, first.dtype)
            self._current = torch.zeros_like(self._down_PK), torch.zeros_like(self._up_NP)
        for linear, stop in zip(linears, accumulate(linear.out_features for linear in linears), strict=True):
            view = self.joint[stop - linear.out_features : stop, : self.num_inputs]
            if slot is not None:
                self._pieces.append(Piece(partial(getattr, linear, "weight"), view))
                continue
            view.copy_(linear.weight.detach())
            linear.weight = nn.Parameter(view, requires_grad=False)

    @property
    def trained(self) -> list[Tensor]:
        """A and B of every trained branch, in order."""
        return [part for place in self.places if place.is_trained for part in (place.branch.a, place.branch.b)]

    @property
    def _down_PK(self) -> Tensor:
        return self.joint[self.num_outputs :, : self.num_inputs]

    @property
    def _up_NP(self) -> Tensor:
        return self.joint[: self.num_outputs, self.num_inputs :]

    def copies(self) -> list[Copy]:
        """What brings the joint matrix, or what waits beside it, up to date with the branches and their switches."""
        return branch_copies(self.places, *self._current)

    def pieces(self) -> list[Piece]:
        """What a slot has to be filled with before it is read; none without a slot."""
        return self._pieces

    def edges(self) -> list[Copy]:
        """What writes the branches beside weights that just came into the slot; none without a slot."""
        down_PK, up_NP = self._current
        moves = bool(self._pieces) and bool(self.places)
        return [Copy(down_PK, self._down_PK, 1.0), Copy(up_NP, self._up_NP, 1.0)] if moves else []

    def input_space(self, rows: int) -> RowOutput:
        """Empty (R, K + P) rows whose first K columns are the input's place."""
        return self._space(rows, self.num_inputs, self.joint.shape[1])

    def output_space(self, rows: int) -> RowOutput:
        """Empty (R, N + P) rows whose first N columns are the place of the output's gradient."""
        return self._space(rows, self.num_outputs, self.joint.shape[0])

    def _space(self, rows: int, dense: int, whole: int) -> RowOutput:
        buffer = torch.empty(rows, whole, dtype=self.joint.dtype, device=self.joint.device)
        return RowOutput(buffer, buffer[:, :dense])

    def forward(self, space: RowOutput) -> tuple[Tensor, Tensor]:
        """(y (R, N), h (R, trained ranks)) of an input space whose input columns are filled."""
        h = space.whole[:, self.num_inputs :]
        if self.places:
            torch.mm(space.dense, self._down_PK.T, out=h)
        return space.whole @ self.joint[: self.num_outputs].T, h[:, : self.trained_ranks].clone()

    def backward_ranks(self, space: RowOutput) -> None:
        """Write d_h beside the first N columns of an output space, which are filled; `gradients` needs no more."""
        if self.places:
            torch.mm(space.dense, self._up_NP, out=space.whole[:, self.num_outputs :])

    def backward_input(self, space: RowOutput) -> Tensor:
        """d_x (R, K) of an output space whose first N columns are filled; d_h is written beside them."""
        self.backward_ranks(space)
        return space.whole @ self.joint[:, : self.num_inputs]

    def gradients(self, space: RowOutput, x: Tensor | Normed, h_RP: Tensor) -> list[Tensor]:
        """Gradients of `trained` after `backward_input`, in their dtypes; x (R, K) is the input."""
        d_h = space.whole[:, self.num_outputs :]
        return branch_gradients(self.places, space.dense, d_h[:, : self.trained_ranks], x, h_RP)


def branch_copies(places: Sequence[Place], down_PK: Tensor, up_NP: Tensor) -> list[Copy]:
    """A and B of every branch, B times its factor, into their places of the joint ones."""
    found = []
    for place in places:
        branch = place.branch
        found.append(Copy(branch.a, down_PK[place.ranks], 1.0))
        found.append(Copy(branch.b, up_NP[place.rows, place.ranks], place.factor))
    return found


def branch_gradients(
    places: Sequence[Place], d_y_RN: Tensor, d_h_RP: Tensor, x: Tensor | Normed, h_RP: Tensor
) -> list[Tensor]:
    """Gradients of A and B of every trained branch, in their dtypes; P: the trained ranks, which come first."""
    if not d_h_RP.shape[1]:
        return []
    down = _through_norm(d_h_RP, x) if isinstance(x, Normed) else fp32_product(d_h_RP.T, x)
    trained = [place for place in places if place.is_trained]
    found: list[Tensor] = []
    for place, up in zip(trained, _up_gradients(trained, d_y_RN, h_RP), strict=True):
        found += [down[place.ranks].to(place.branch.a.dtype), up.to(place.branch.b.dtype)]
    return found


def _up_gradients(trained: Sequence[Place], d_y_RN: Tensor, h_RP: Tensor) -> Sequence[Tensor]:
    """d_y' h * factor of every place in fp32: one batched product where the places are alike, as q, k and v are."""
    first, count = trained[0], len(trained)
    alike = all(
        (place.rows, place.ranks, place.factor) == (_nth(first.rows, n), _nth(first.ranks, n), first.factor)
        for n, place in enumerate(trained)
    )
    if count > 1 and alike and trained[-1].rows.stop == d_y_RN.shape[1]:
        right = _scaled(h_RP[:, : trained[-1].ranks.stop], first.factor).unflatten(1, (count, -1)).transpose(0, 1)
        return fp32_product(d_y_RN.unflatten(1, (count, -1)).permute(1, 2, 0), right).unbind()
    return [fp32_product(d_y_RN[:, place.rows].T, _scaled(h_RP[:, place.ranks], place.factor)) for place in trained]


def _nth(first: slice, n: int) -> slice:
    """The n-th of equal slices that follow each other from 0 on."""
    return slice(first.stop * n, first.stop * (n + 1))


def _scaled(values: Tensor, factor: float) -> Tensor:
    return values if factor == 1.0 else values * factor


def fp32_product(left: Tensor, right: Tensor) -> Tensor:
    """left @ right in fp32, as matrix units have it before they round; both may be batches."""
    if left.device.type == "cuda" and left.dtype != torch.float32:
        return (torch.mm if left.ndim == 2 else torch.bmm)(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()


def _through_norm(d_h_RP: Tensor, normed: Normed) -> Tensor:
    """d_h' (rows * inverse * factor) sample by sample, without making what is in brackets: d_h is thin."""
    batch = normed.factor.shape[0]
    own = d_h_RP.unflatten(0, (batch, -1))
    thin = torch.mul(own, normed.inverse, out=torch.empty(own.shape, dtype=own.dtype, device=own.device))
    parts = [fp32_product(thin[row].T, normed.rows[row]) * normed.factor[row] for row in range(batch)]
    return parts[0] if batch == 1 else torch.stack(parts).sum(0)


def places_of(linears: Sequence[HasOutputs], beside: Sequence[Beside]) -> list[Place]:
    """The branches' places, trained ones first, so that their ranks stand together."""
    stops = accumulate(linear.out_features for linear in linears)
    rows = [slice(stop - linear.out_features, stop) for linear, stop in zip(linears, stops, strict=True)]
    found = [(own, role, span) for span, own in zip(rows, beside, strict=True) for role in own]
    found.sort(key=lambda place: not place[0][place[1]].a.requires_grad)
    ends = accumulate(own[role].a.shape[0] for own, role, _ in found)
    return [
        Place(own, role, span, slice(end - own[role].a.shape[0], end), own[role].a.requires_grad)
        for (own, role, span), end in zip(found, ends, strict=True)
    ]


def ranks_of(places: Sequence[Place]) -> tuple[int, int]:
    """(ranks of the trained branches, ranks of all, padded)."""
    ranks = max((place.ranks.stop for place in places), default=0)
    trained = max((place.ranks.stop for place in places if place.is_trained), default=0)
    return trained, -(-ranks // RANK_MULTIPLE) * RANK_MULTIPLE

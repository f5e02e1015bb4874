"""Many small matrices copied into places of large ones, cast and scaled on the way: one kernel instead of hundreds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Copy:
    """target = source * factor, cast to the target's dtype; both (rows, columns), columns without gaps."""

    source: Tensor
    target: Tensor
    factor: float


class CopyTable:
    """Runs lists of copies; where only values and factors changed since the last list, nothing is set up again."""

    def __init__(self) -> None:
        self._tables: dict[tuple[torch.dtype, torch.dtype], _Table] = {}

    @torch.no_grad()
    def run(self, copies: Sequence[Copy]) -> None:
        """Do them all. On CUDA the addresses lie in a table on the device, one for every pair of dtypes."""
        if not copies:
            return
        if copies[0].target.device.type != "cuda":
            for copy in copies:
                copy.target.copy_(copy.source * copy.factor)
            return
        from slipstream.kernels.copies_triton import run_table

        for dtypes in dict.fromkeys((copy.source.dtype, copy.target.dtype) for copy in copies):
            own = [copy for copy in copies if (copy.source.dtype, copy.target.dtype) == dtypes]
            run_table(self._table(dtypes, own), *dtypes)

    def _table(self, dtypes: tuple[torch.dtype, torch.dtype], copies: Sequence[Copy]) -> _Table:
        places = [(copy.source.data_ptr(), copy.target.data_ptr()) for copy in copies]
        factors = [copy.factor for copy in copies]
        known = self._tables.get(dtypes)
        if known is None or known.places != places:
            known = _Table.of(copies, places)
            self._tables[dtypes] = known
        if known.factors != factors:
            known.values.copy_(torch.tensor(factors))
            known.factors = factors
        return known


@dataclass
class _Table:
    """Addresses and shapes (copies, 6) int64 on the device; `values` are the factors there, `factors` those here."""

    places: list[tuple[int, int]]
    numbers: Tensor
    values: Tensor
    factors: list[float]
    largest: int

    @classmethod
    def of(cls, copies: Sequence[Copy], places: list[tuple[int, int]]) -> _Table:
        rows = [
            (*place, *copy.target.shape, copy.source.stride(0), copy.target.stride(0))
            for place, copy in zip(places, copies, strict=True)
        ]
        device = copies[0].target.device
        factors = [copy.factor for copy in copies]
        largest = max(copy.target.numel() for copy in copies)
        return cls(places, torch.tensor(rows, device=device), torch.tensor(factors, device=device), factors, largest)

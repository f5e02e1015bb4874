"""Many small matrices copied into places of large ones, cast and scaled on the way: one kernel instead of hundreds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Copy:
    """target = source * factor, cast to the target's dtype; both (rows, columns), columns without gaps."""

    source: Tensor
    target: Tensor
    factor: float


class CopyTable:
    """Runs lists of copies; where only values changed since the last list, nothing is set up again.

    Args:
        lasting: keep a table for every set of factors for good, since CUDA graphs that were captured go on reading it.
            Their sources and targets must stay where they are. Otherwise the newest table alone is kept.
    """

    def __init__(self, *, lasting: bool) -> None:
        self._lasting = lasting
        self._tables: dict[tuple[Any, ...], _Table] = {}

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
        places = tuple((copy.source.data_ptr(), copy.target.data_ptr()) for copy in copies)
        factors = tuple(copy.factor for copy in copies)
        key = (dtypes, factors) if self._lasting else (dtypes,)
        known = self._tables.get(key)
        if known is not None and (known.places, known.factors) == (places, factors):
            return known
        if known is not None and self._lasting:
            raise RuntimeError("copies that CUDA graphs may hold on to have moved")
        self._tables[key] = _Table.of(copies, places, factors)
        return self._tables[key]


@dataclass(frozen=True)
class _Table:
    """Addresses and shapes (copies, 6) int64 on the device; `values` are the factors there, `factors` those here."""

    places: tuple[tuple[int, int], ...]
    factors: tuple[float, ...]
    numbers: Tensor
    values: Tensor
    largest: int

    @classmethod
    def of(cls, copies: Sequence[Copy], places: tuple[tuple[int, int], ...], factors: tuple[float, ...]) -> _Table:
        rows = [
            (*place, *copy.target.shape, copy.source.stride(0), copy.target.stride(0))
            for place, copy in zip(places, copies, strict=True)
        ]
        device = copies[0].target.device
        largest = max(copy.target.numel() for copy in copies)
        return cls(places, factors, torch.tensor(rows, device=device), torch.tensor(factors, device=device), largest)

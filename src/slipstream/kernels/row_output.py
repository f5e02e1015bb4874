"""Where a row operation writes its result, so that a matrix product can read it at once."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class RowOutput:
    """Rows for a matrix product: always dense, and beside that in float8 where the product multiplies float8.

    Shape legend: R rows (batch times tokens), W columns.

    Attributes:
        whole: the buffer that `dense` is the left part of; the columns right of it belong to the low-rank branches.
        dense: (R, W) in bf16 (fp32 in tests); rows may be further apart than W.
        codes: (R, W) float8 (e4m3), rows W apart; None where nothing reads float8.
        scale: (R, 1) fp32 with dense * columns = codes * scale up to rounding.
        columns: (W,) fp32 factors on the columns before they become codes; None for ones.
    """

    whole: Tensor
    dense: Tensor
    codes: Tensor | None = None
    scale: Tensor | None = None
    columns: Tensor | None = None

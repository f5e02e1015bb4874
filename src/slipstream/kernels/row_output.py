"""What row operations hand on: rows for a matrix product, and rows together with how they were normalized."""

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


@dataclass(frozen=True)
class Normed:
    """Rows that a norm was taken of: `rows * inverse * factor` is what the matrix product read.

    Shape legend: B batch, S tokens, D width.

    Attributes:
        rows: (B, S, D) before the norm.
        inverse: (B, S, 1) fp32, 1 / root mean square of every row.
        factor: (B, D) fp32, the norm's weight times what the sample's modulation makes of it.
    """

    rows: Tensor
    inverse: Tensor
    factor: Tensor

"""How each kernel is run: the fastest on an H100 at 4,224 rows, from `benchmarks/row_kernels.py --sweep`."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Launch:
    """How a kernel is run.

    Attributes:
        warps: per program, each of 32 threads.
        stages: rows on their way at once where a program takes several in turn.
        registers: of a thread at most; None for as many as the compiler wants.
        programs: that share the rows where a program takes several.
        piece: columns at once where a row is taken in pieces.
    """

    warps: int
    stages: int = 1
    registers: int | None = None
    programs: int = 264
    piece: int = 2048


LAUNCHES = {
    "norms": Launch(4),
    "norms, codes": Launch(4),
    "norms backward": Launch(8),
    "norms backward, codes": Launch(8),
    "norms backward with sums": Launch(16, stages=3, programs=132),
    "norms backward with sums, codes": Launch(16, stages=3, programs=132),
    "heads": Launch(4),
    "heads backward": Launch(16),
    "heads backward, codes": Launch(16),
    "fill": Launch(4),
    "fill, codes": Launch(4),
    "swiglu": Launch(16, piece=4096),
    "swiglu, codes": Launch(8, piece=4096),
    "swiglu backward": Launch(16, piece=4096),
    "swiglu backward, codes": Launch(16, piece=4096),
}
"""By kernel, and whether it writes float8 codes."""

_COLUMNS_A_WARP = 128
"""No program has more warps than columns for them: four for each thread."""


def launch_of(kernel: str, codes: torch.Tensor | None = None) -> Launch:
    """The launch of a kernel that writes these codes, or none."""
    return LAUNCHES[kernel if codes is None else f"{kernel}, codes"]


def options(launch: Launch, columns: int) -> dict[str, int]:
    """Arguments for the compiler at so many columns."""
    found = {"num_warps": min(launch.warps, max(1, columns // _COLUMNS_A_WARP))}
    if launch.registers is not None and torch.version.hip is None:
        found["maxnreg"] = launch.registers
    return found

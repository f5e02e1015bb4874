"""`validation.jsonl`: the loss on held-out pictures, one line a measurement, and what it says about overfitting.

A line holds `step`, `loss` (the mean) and `sigma_<level>` for each noise level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from slipstream.runs.metrics import read_metrics

LEVEL = "sigma_"
Row = Mapping[str, float]


def level_key(sigma: float) -> str:
    """The name under which a noise level's loss is kept."""
    return f"{LEVEL}{sigma:g}"


def level_keys(rows: Sequence[Row]) -> list[str]:
    """The noise levels of some measurements, by rising noise."""
    found = {key for row in rows for key in row if key.startswith(LEVEL)}
    return sorted(found, key=lambda key: float(key.removeprefix(LEVEL)))


def read_rows(path: Path) -> list[dict[str, float]]:
    """All measurements with a finite loss, by step, each step once; empty where there is no file."""
    rows = {row["step"]: row for row in read_metrics(path) if math.isfinite(row.get("loss", math.nan))}
    return [rows[step] for step in sorted(rows)]


def best_row(rows: Sequence[Row]) -> Row | None:
    """The measurement with the lowest loss, the earliest of equals."""
    return min(rows, key=lambda row: row["loss"], default=None)


def held_out_rise(rows: Sequence[Row], step: int) -> dict[str, float] | None:
    """By noise level (and `loss` for their mean): how far the held-out loss at a step lies above the lowest up to it.

    A share of the lowest; 0 while the loss still falls. The last measurement up to the step counts; None where there
    is none after the start.
    """
    until = [row for row in rows if row["step"] <= step]
    if not until or until[-1]["step"] == 0:
        return None
    last = until[-1]
    keys = ["loss", *(key for key in level_keys(until) if key in last)]
    return {key.removeprefix(LEVEL): last[key] / min(row[key] for row in until if key in row) - 1 for key in keys}


def overfitting_advice(rows: Sequence[Row], patience: int) -> str | None:
    """What to do where none of the last `patience` measurements was better than an earlier one, or None."""
    best = best_row(rows)
    if best is None:
        return None
    since = [row for row in rows if row["step"] > best["step"]]
    if len(since) < patience:
        return None
    if best["step"] == 0:
        return (
            f"validation loss has been above its value before training ({best['loss']:.4g}) in all {len(since)} "
            f"measurements since, now {since[-1]['loss']:.4g}: the LoRA learns nothing that helps on the held-out "
            "pictures. Lower the learning rate, or check that they are of the same kind."
        )
    return (
        f"validation loss was lowest at step {best['step']:g} ({best['loss']:.4g}) and has not been lower in "
        f"{len(since)} measurements since, now {since[-1]['loss']:.4g}: the checkpoint of step {best['step']:g} is "
        "likely the better one"
    )

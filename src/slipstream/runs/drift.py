"""`drift.jsonl`: how far the LoRA has bent Turbo, one line a measurement.

A line holds `step`, `score` (0 is Turbo itself), `light` (green, yellow, red), `changes` (noise level -> relative
change of the velocity), `detail` (noise level -> detail in the predicted picture over Turbo's own), `guard` (what the
guard did, in words, or null), `rate_factor` (on the learning rate, from then on) and `ended_early` (whether training
ended there).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from slipstream.runs.metrics import read_metrics

Row = Mapping[str, Any]
Light = Literal["green", "yellow", "red"]

YELLOW, RED = 38.0, 45.0
"""Scores from which the light is yellow and red (docs/drift.md says how they were found)."""


def light(score: float) -> Light:
    """What a score means: green keeps Turbo's few steps, yellow wears them, red has lost them."""
    return "red" if score >= RED else "yellow" if score >= YELLOW else "green"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All measurements with a finite score, by step, each step once; empty where there is no file."""
    rows: dict[int, dict[str, Any]] = {}
    for row in read_metrics(path):
        if math.isfinite(row.get("score", math.nan)):
            rows[int(row["step"])] = row
    return [rows[step] for step in sorted(rows)]

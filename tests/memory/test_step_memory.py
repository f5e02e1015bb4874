"""The arithmetic of memory against peaks that were measured on a GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slipstream.memory.estimate import (
    Resident,
    StepMemory,
    block_bytes,
    joint_padding_bytes,
    optimizer_bytes,
    step_memory,
    trained_bytes,
    weight_bytes,
)
from slipstream.memory.plan import GIB
from slipstream.models.z_image.fused_linear import RANK_MULTIPLE
from slipstream.models.z_image.layout import pad_to_multiple
from slipstream.models.z_image.names import MODULATED
from slipstream.models.z_image.sizes import linear_shape, model_sizes
from slipstream.precision.schemes import SCHEMES

RESULTS = Path(__file__).parents[2] / "benchmarks/results"
SIZES = model_sizes({})
CAPTION_TOKENS = 128
SUMMED_SHAPES = SIZES.num_blocks * sum(sum(linear_shape(name, SIZES.widths)) for name in MODULATED)
"""Parameters of a branch on every linear of the main blocks, per rank."""


def expected(
    side: int, *, scheme: str | None, fused: bool, full: bool, rank: int, adapter_rank: int, optimizer: str
) -> StepMemory:
    weights = weight_bytes(SIZES, 2, SCHEMES[scheme].bits if scheme else None)
    if fused:
        weights += joint_padding_bytes(SIZES, rank + adapter_rank, 2, RANK_MULTIPLE)
    parameters = rank * SUMMED_SHAPES
    branches = trained_bytes(parameters, ema=False) + adapter_rank * SUMMED_SHAPES * 2
    resident = Resident(weights, branches, optimizer_bytes(parameters, optimizer))
    tokens = pad_to_multiple((side // 16) ** 2) + CAPTION_TOKENS
    block = block_bytes(SIZES, fused=fused, rank=rank, element=2)
    return step_memory(resident, block, SIZES.num_blocks, tokens, 0 if full else None)


def measured_by_tier() -> list[Any]:
    """Every training at one resolution under a preset."""
    report = json.loads((RESULTS / "memory_tiers.json").read_text(encoding="utf-8"))
    return [
        pytest.param(tier, part, report["adapter_rank"], id=f"{tier['tier']} {part}")
        for tier in report["tiers"]
        for part in tier
        if part.startswith("train_") and part != "train_mixed" and "error" not in tier[part]
    ]


@pytest.mark.parametrize(("tier", "part", "adapter_rank"), measured_by_tier())
def test_peaks_of_the_tiers(tier, part, adapter_rank):
    scheme = tier["transformer"] if tier["transformer"] in SCHEMES else None
    found = expected(
        int(part.removeprefix("train_")), scheme=scheme, fused="fused" in tier.get("blocks", "").split(",")[0],
        full=tier["gradient_checkpointing"] == "full", rank=16, adapter_rank=adapter_rank,
        optimizer=tier["load"]["optimizer"],
    )  # fmt: skip
    assert found.peak / GIB == pytest.approx(tier[part]["peak_allocated_gib"], rel=0.05)


def measured_by_step() -> list[Any]:
    """The entries whose memory is that of an update alone, run eagerly in bf16."""
    rows = json.loads((RESULTS / "step_time.json").read_text(encoding="utf-8"))
    return [
        pytest.param(row, id=f"{row['blocks']} {row['checkpointing']} {row['resolution']}")
        for row in rows
        if row["mode"] == "bf16" and row.get("blocks") in ("module by module", "fused blocks") and "adapter_rank" in row
    ]


@pytest.mark.parametrize("row", measured_by_step())
def test_peaks_of_the_step(row):
    found = expected(
        row["resolution"], scheme=None, fused=row["blocks"] == "fused blocks", full=row["checkpointing"] == "full",
        rank=row["rank"], adapter_rank=row["adapter_rank"], optimizer=row["optimizer"],
    )  # fmt: skip
    assert found.peak / GIB == pytest.approx(row["peak_gib"], rel=0.1)


def test_what_takes_the_memory_is_said():
    found = expected(1024, scheme=None, fused=True, full=False, rank=16, adapter_rank=0, optimizer="adamw")
    assert found.describe() == "27.3 GiB (weights 11.7, LoRA and optimizer 0.6, activations 14.7, workspace 0.2)"


def test_an_unknown_optimizer_counts_as_adamw():
    assert optimizer_bytes(10, "pytorch_optimizer/AdEMAMix") == optimizer_bytes(10, "adamw") == 120

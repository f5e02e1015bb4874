"""The planner on machines from 6 to 141 GiB: what it takes, what it says, and what it never does."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slipstream.memory.cost import Work, step_seconds
from slipstream.memory.plan import GIB, UNLIMITED
from slipstream.memory.planner import Fixed, Job, Machine, choices, decide, everything_or_nothing, rank_candidates
from slipstream.models.z_image.sizes import model_sizes
from slipstream.precision.schemes import SCHEMES

RESULTS = Path(__file__).parents[2] / "benchmarks/results"
SIZES = model_sizes({})
JOB = Job(
    sizes=SIZES, bits={name: scheme.bits for name, scheme in SCHEMES.items()},
    batches=((1, 1152, 1.0), (1, 2432, 1.0), (1, 4224, 1.0)), rank=16, num_trained=42_516_480, optimizer="adamw8bit",
    adapter_bytes=340 << 20, num_previews=4,
)  # fmt: skip
SMALL_JOB = replace(JOB, batches=((1, 1152, 1.0), (1, 2432, 1.0)), pixels=768**2, preview_pixels=768**2)


def machine(free_gib: float, tflops: float = 800, *, float8: bool = True, host_gib: float = 64) -> Machine:
    free = int(free_gib * GIB)
    return Machine("a GPU", (9, 0), free, free, int(host_gib * GIB), 25.0, tflops, float8)


@pytest.mark.parametrize("free", [44, 79, 140])
def test_on_a_large_card_nothing_that_saves_memory_is_on(free):
    found = decide(machine(free), JOB).chosen
    assert (found.choice.transformer, found.choice.text_encoder, found.choice.offload) == ("bf16", "bf16", 0)
    assert found.levels.keeps_everything
    assert found.choice.adapter == "gpu" or free == 44  # there CUDA graphs make better use of the room
    assert found.choice.previews_at_once == 4


@pytest.mark.parametrize(
    ("free", "job", "transformer", "text"),
    [
        (7.2, SMALL_JOB, "nf4", "float8"),
        (11.2, JOB, "float8", "bf16"),
        (15.2, JOB, "float8", "bf16"),
        (22.9, JOB, "bf16", "bf16"),
    ],
)
def test_the_tiers(free, job, transformer, text):
    found = decide(machine(free), job)
    assert found.warning is None
    assert (found.chosen.choice.transformer, found.chosen.choice.text_encoder) == (transformer, text)
    assert found.chosen.peak < free * GIB - GIB // 2


def test_a_second_copy_on_the_gpu_never_costs_activations():
    found = [decide(machine(free), JOB).chosen for free in range(34, 70)]
    assert all(one.levels.keeps_everything for one in found)
    assert [one.choice.adapter for one in found][:: len(found) - 1] == ["host", "gpu"]


def test_more_memory_is_never_slower():
    seconds = [decide(machine(free), JOB).chosen.seconds_per_step for free in (17, 19, 21, 23, 26, 30, 36, 44, 60, 79)]
    assert seconds == sorted(seconds, reverse=True)


def test_why_is_said_in_one_line_each_and_what_would_be_next():
    found = decide(machine(15.2), JOB)
    assert found.lines[0].startswith("plan: float8 weights, float8 products")
    assert found.reasons[0].startswith("float8: bf16 would need 15.8 GiB")
    assert found.reasons[0].endswith(", 15.2 are free")
    assert found.lines[-1].startswith("  next best: int8 weights, bf16 products")
    assert all("\n" not in line for line in found.lines)
    assert "  peaks in GiB: captions 8.7, latents 1.8, load 6.3, train 13.6, previews 9.4" in found.lines
    large = decide(machine(79), JOB)
    assert large.reasons[0] == "bf16: nothing is rounded, and it fits; 79.0 are free"


def test_without_float8_tensor_cores_8_bits_are_made_bf16():
    found = decide(machine(11.5, 80, float8=False), JOB).chosen.choice
    assert (found.transformer, found.products, found.fused, found.adapter) == ("int8", "bf16", False, "live")
    kept = replace(JOB, fixed=Fixed(compute_dtype="bf16"))
    assert {one.products for one in choices(machine(15), kept)} == {"bf16"}


def test_another_kind_than_plain_lora_runs_module_by_module():
    found = decide(machine(79), replace(JOB, plain_lora=False)).chosen
    assert (found.choice.transformer, found.choice.fused, found.choice.adapter) == ("bf16", False, "live")
    assert found.seconds_per_step > 3 * decide(machine(79), JOB).chosen.seconds_per_step


@pytest.mark.parametrize(
    "fixed",
    [
        Fixed(transformer="nf4"), Fixed(transformer="float8", compute_dtype="bf16"), Fixed(text_encoder="float8"),
        Fixed(activations=0), Fixed(folds=False), Fixed(folds=True), Fixed(transformer="fp32", text_encoder="fp32"),
    ],
)  # fmt: skip
def test_what_the_user_set_is_kept(fixed):
    for one in rank_candidates(machine(79), replace(JOB, fixed=fixed)):
        assert fixed.transformer in (None, one.choice.transformer)
        assert fixed.text_encoder in (None, one.choice.text_encoder)
        assert fixed.compute_dtype in (None, one.choice.products)
        assert fixed.activations != 0 or set(one.levels.levels[:-1]) == {"input"}
        if one.choice.fused and fixed.folds is not None:
            assert (one.choice.adapter != "live") is fixed.folds


def test_settings_that_do_not_fit_are_said_so_with_what_would():
    found = decide(machine(15.2), replace(JOB, fixed=Fixed("bf16", activations=UNLIMITED)))
    assert found.reasons[0] == "bf16: as set, or as this run began; 15.2 are free"
    assert found.warning is not None
    assert "train needs 27." in found.warning
    assert "15.2 are free; with what the config sets left to the plan it would be: float8 weights" in found.warning
    hopeless = decide(machine(4), JOB)
    assert hopeless.chosen.choice.transformer == "nf4"
    assert "lower the datasets' resolutions" in (hopeless.warning or "")


def test_weights_wait_on_the_host_only_where_it_has_room():
    assert decide(machine(22.9), JOB).chosen.choice.adapter == "host"
    assert decide(machine(22.9, host_gib=12), JOB).chosen.choice.adapter in ("gpu", "live")


def test_streaming_is_taken_where_nothing_as_exact_fits_better():
    streamed = replace(JOB, offload_percents=(0, 50, 100))
    assert decide(machine(79), streamed).chosen.choice.offload == 0
    small = decide(machine(8.6, 160), streamed).chosen
    assert small.choice.offload > 0
    assert small.choice.transformer in ("float8", "int8")
    assert small.host_bytes > 0
    assert "% of the blocks streamed from host memory" in small.describe()


def test_a_text_encoder_that_stays_loaded_is_counted_while_training():
    kept = decide(machine(79), replace(JOB, keeps_encoder=True)).chosen
    assert (kept.peaks["train"] - decide(machine(79), JOB).chosen.peaks["train"]) / GIB == pytest.approx(8.7, abs=0.1)


def test_whatever_comes_a_plan_that_fits_leaves_a_margin_and_more_memory_fits_too():
    draw = random.Random(7)
    fitting = 0
    for _ in range(60):
        sides = draw.sample([1152, 2432, 4224, 6528], draw.randint(1, 4))
        batch = draw.choice([1, 1, 2, 4])
        job = replace(
            JOB, batches=[(batch, batch * tokens, 1.0) for tokens in sides], rank=(rank := draw.choice([4, 16, 64])),
            num_trained=2_657_280 * rank, plain_lora=draw.random() < 0.8, adapter_bytes=draw.choice([0, 340 << 20]),
            fixed=Fixed(transformer=draw.choice([None, None, "bf16", "float8", "nf4"])),
            offload_percents=draw.choice([(0,), (0, 50, 100)]),
        )  # fmt: skip
        free = draw.uniform(5, 90)
        small = machine(free, draw.uniform(40, 900), float8=draw.random() < 0.5, host_gib=draw.uniform(8, 64))
        found = decide(small, job)
        assert found.chosen.seconds_per_step > 0
        if found.warning is not None:
            continue
        fitting += 1
        assert found.chosen.peak <= small.free_bytes - GIB // 2
        assert found.chosen.levels.peak_bytes <= found.chosen.levels.budget_bytes
        larger = replace(small, free_bytes=small.free_bytes + 8 * GIB)
        assert decide(larger, job).warning is None
    assert fitting > 20


def test_modes_as_bytes():
    assert [everything_or_nothing(mode) for mode in ("none", "full", "auto")] == [UNLIMITED, 0, None]


def seconds_of(tokens: int, work: Work, level: str = "everything") -> float:
    levels = (*((level,) * 29), "everything")
    return step_seconds(SIZES, 1, tokens, levels, work, 800, 25)  # type: ignore[arg-type]


def test_steps_module_by_module_as_measured():
    rows = json.loads((RESULTS / "step_time.json").read_text(encoding="utf-8"))
    for row in (row for row in rows if row.get("blocks") == "module by module" and row["mode"] == "bf16"):
        tokens = (row["resolution"] // 16) ** 2 + 128
        level = "input" if row["checkpointing"] == "full" else "everything"
        found = seconds_of(tokens, Work(fused=False, live_adapter=True), level)
        assert found == pytest.approx(row["ms_per_step_median"] / 1000, rel=0.2), row


def test_streaming_leaves_two_blocks_on_the_device_and_the_rest_with_both_sides_on_the_host():
    block = 176_947_200
    job = replace(JOB, fixed=Fixed(transformer="float8", activations=0))
    found = {}
    for percent in (0, 50, 100):
        ranked = rank_candidates(machine(79), replace(job, offload_percents=(percent,)))
        (found[percent],) = [one for one in ranked if one.choice.adapter == "gpu" and not one.choice.transposed]
    for percent, streamed in ((50, 15), (100, 30)):
        resident = 2 * streamed * block - 2 * block  # either side is gone from the device, two slots came
        assert found[0].peaks["train"] - found[percent].peaks["train"] == resident
        assert found[percent].host_bytes == 2 * streamed * block


def test_only_blocks_that_run_as_one_function_stream():
    streamed = list(choices(machine(10, float8=False), replace(JOB, offload_percents=(100,))))
    assert {one.transformer for one in streamed} == {"bf16"}
    assert all(one.fused for one in streamed)


def fused_rows() -> list[Any]:
    """Updates on an H100 with the adapter folded, weights without it and transposed codes on the GPU."""
    rows = json.loads((RESULTS / "step_time.json").read_text(encoding="utf-8"))
    return [
        pytest.param(row, id=f"{row['mode']} {row['resolution']} {row['source']}")
        for row in rows
        if row.get("blocks") == "fused" and row["device"].startswith("NVIDIA H100") and row["batch"] == 1
    ]


@pytest.mark.parametrize("row", fused_rows())
def test_fused_steps_as_measured(row):
    tokens = (row["resolution"] // 16) ** 2 + 128
    job = replace(
        JOB, batches=((1, tokens, 1.0),), optimizer=row["optimizer"], preview_pixels=0, fixed=Fixed(row["mode"])
    )
    found = decide(machine(79, 780), job).chosen
    assert (found.choice.adapter, found.choice.transposed) == ("gpu", row["mode"] == "float8")
    assert found.seconds_per_step == pytest.approx(row["ms_per_step_median"] / 1000, rel=0.16)
    if row["source"] == "step_profile.py":  # the others hold the graphs of three sizes, and previews
        assert found.peaks["train"] / GIB == pytest.approx(row["peak_gib"], rel=0.1)

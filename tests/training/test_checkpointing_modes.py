"""`training.gradient_checkpointing`: what it makes of the memory at hand, and that a training cannot tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from slipstream import worker
from slipstream.config.run_config import RunConfig, dump_yaml, parse_config
from slipstream.data.buckets import Bucket
from slipstream.memory.blocks import BlockBytes
from slipstream.memory.estimate import DRAWING_BYTES
from slipstream.memory.plan import GIB, LevelPlan, plan_levels
from slipstream.precision.checkpointing import run_directly
from slipstream.runs.create import create_run
from slipstream.runs.exit_codes import FINISHED
from slipstream.training import keeping as room
from slipstream.training.device import Compute
from slipstream.training.keeping import (
    UNLIMITED,
    Budget,
    activation_budget,
    choose_keeping,
    most_graph_tokens,
    tokens_of,
)

BUCKETS = [Bucket(64, 64), Bucket(128, 128), Bucket(96, 64)]
ON_CPU = Compute(torch.device("cpu"), torch.float32, torch.float32, ())
ON_GPU = replace(ON_CPU, device=torch.device("cuda"), transformer_dtype=torch.bfloat16)
SMALL = BlockBytes({"everything": 2, "input": 1}, working=1)
SOME = "0.008 GiB"
"""Enough for some of the tiny model's blocks at 128 x 128, not for all."""


def config_with(mode: str, *overrides: str, folder: Path = Path()) -> RunConfig:
    settings = {
        "job": {"name": "kept", "output_dir": str(folder), "device": "cpu"}, "model": {"name_or_path": "tiny/turbo"},
        "target": {"rank": 4}, "training": {"steps": 4, "gradient_checkpointing": mode, "optimizer": "adamw"},
        "datasets": [{"path": str(folder / "pictures"), "resolutions": [64, 128]}], "save": {"every": 2},
        "sample": {"prompts": []}, "advanced": {"tensorboard": False},
    }  # fmt: skip
    return parse_config(settings, list(overrides))


def test_on_the_cpu_auto_keeps_everything(fresh_transformer):
    for mode in ("auto", "none"):
        keeping = choose_keeping(config_with(mode), ON_CPU, fresh_transformer, 1000, BUCKETS, is_fused=False)
        assert keeping.run is run_directly
        assert not keeping.is_scarce
        assert keeping.lines == ()
        assert set(keeping.levels_at(4, 4000)) == {"everything"}


def test_graphs_are_for_batches_that_leave_room_for_the_largest_one_and_for_previews():
    tokens = [tokens_of(bucket, config_with("auto")) for bucket in BUCKETS]
    assert (
        most_graph_tokens(Budget(None, None, ""), lambda number: plan_levels(0, number, 1, SMALL), tokens) == UNLIMITED
    )

    def plan(number: int) -> LevelPlan:
        return LevelPlan(("everything",), number * GIB // 64, 0)

    def most(room: int) -> int:
        return most_graph_tokens(Budget(room, room, ""), plan, tokens)

    largest = max(tokens) * GIB // 64
    assert most(2 * largest + DRAWING_BYTES) == UNLIMITED
    assert most(2 * largest + DRAWING_BYTES - 1) == sorted(tokens)[-2]
    assert most(largest) == 0


def test_full_keeps_the_least_and_says_what_it_takes(fresh_transformer):
    keeping = choose_keeping(config_with("full"), ON_CPU, fresh_transformer, 1000, BUCKETS, is_fused=True)
    assert keeping.is_scarce
    assert keeping.levels_at(1, 64) == ("input",) * 4 + ("everything",)
    assert "1 of 5 blocks keep everything, 4 their input" in keeping.lines[1]
    assert "0 of 2 smaller buckets keep everything" in keeping.lines[1]


def test_an_amount_is_planned_shape_by_shape(fresh_transformer):
    keeping = choose_keeping(config_with(SOME), ON_CPU, fresh_transformer, 1000, BUCKETS, is_fused=True)
    assert keeping.is_scarce
    assert set(keeping.levels_at(1, 64)) == {"everything"}
    assert len(set(keeping.levels_at(1, 192))) == 2
    assert keeping.levels_at(3, 64) == keeping.levels_at(1, 192)
    assert keeping.lines[0].startswith(f"activations: {SOME} as set")
    assert "activations at 128 x 128: " in keeping.lines[1]
    assert "warning" not in " ".join(keeping.lines)
    short = choose_keeping(config_with("0.002 GiB"), ON_CPU, fresh_transformer, 1000, BUCKETS, is_fused=True)
    assert "MORE THAN THERE IS" in short.lines[1]
    assert short.lines[2].startswith("warning: ")


@pytest.mark.parametrize(("free", "expected"), [(24, 0.95 * (24 - 0.25 - 1)), (0.5, 0.0)])
def test_auto_takes_what_is_free_but_for_what_comes_later_and_a_reserve(monkeypatch, free, expected):
    monkeypatch.setattr(room, "free_bytes", lambda device: int(free * GIB))
    budget = activation_budget(config_with("auto"), ON_GPU, num_trained=0)
    assert budget.num_bytes == pytest.approx(expected * GIB)
    assert f"{free:.1f} GiB are free" in budget.line


def test_gradients_optimizer_and_average_are_left_room_for(monkeypatch):
    monkeypatch.setattr(room, "free_bytes", lambda device: 20 * GIB)

    def budget(*overrides: str) -> int:
        found = activation_budget(config_with("auto", *overrides), ON_GPU, GIB // 4).num_bytes
        assert found is not None
        return found

    with_adamw, with_8bit = budget(), budget("training.optimizer=adamw8bit")
    assert with_8bit - with_adamw == pytest.approx(0.95 * 1.5 * GIB)
    assert with_adamw - budget("training.ema={decay: 0.9}") == pytest.approx(0.95 * GIB)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(worker.WorkerRequests, "listen", lambda self: None)
    (tmp_path / "pictures").mkdir()
    for stem, colour in (("red", (200, 40, 40)), ("blue", (40, 40, 200))):
        Image.new("RGB", (144, 144), colour).save(tmp_path / "pictures" / f"{stem}.png")
    return tmp_path


def trained(pictures: Path, name: str, *stages: tuple[str, int]) -> tuple[dict[str, Tensor], str]:
    """The LoRA and the log of a run that goes on with another mode at the given steps."""
    run = None
    for mode, steps in stages:
        config = config_with(mode, f"job.name={name}", f"training.steps={steps}", folder=pictures)
        if run is None:
            run, _ = create_run(pictures, name, dump_yaml(config))
        run.config.write_text(dump_yaml(config), encoding="utf-8")
        assert worker.work(run) == FINISHED, run.log.read_text()
    assert run is not None
    return load_file(run.lora), run.log.read_text()


def test_a_run_that_goes_on_with_another_plan_is_bit_for_bit_the_same(pictures):
    whole, _ = trained(pictures, "whole", ("none", 4))
    parts, log = trained(pictures, "parts", ("full", 2), (SOME, 4))
    assert "resumed after step 2" in log
    assert "blocks keep everything, " in log
    assert whole.keys() == parts.keys()
    assert all(torch.equal(tensor, parts[key]) for key, tensor in whole.items())

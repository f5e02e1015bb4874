"""The memory that a plan expects: the arithmetic of `memory`, fed with a config and what the device has free."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from slipstream.config.run_config import parse_config
from slipstream.memory.plan import GIB
from slipstream.training import keeping, memory_forecast
from slipstream.training.device import Compute
from slipstream.training.memory_forecast import expected_memory, runs_fused
from slipstream.training.setting import Setting, settle

GPU = Compute(torch.device("cuda"), torch.bfloat16, torch.bfloat16, ())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number, side in enumerate((512, 1024)):
        Image.new("RGB", (side, side), (200, 40, number)).save(tmp_path / f"{number}.png")
    return tmp_path


def setting_on(pictures: Path, compute: Compute | None, *overrides: str) -> Setting:
    settings = {
        "job": {"name": "planned", "device": "cpu"}, "model": {"name_or_path": "tiny/turbo"},
        "datasets": [{"path": str(pictures), "resolutions": [512, 1024]}], "target": {"rank": 16},
        "training": {"optimizer": "adamw"}, "sample": {"prompts": []},
    }  # fmt: skip
    setting = settle(parse_config(settings, list(overrides)))
    return setting if compute is None else replace(setting, compute=compute, adapter=None)


def real_on(monkeypatch, free_gib: float) -> None:
    """The 6B on a GPU with so much free memory."""
    monkeypatch.setattr(memory_forecast, "transformer_config", lambda place: {})
    for room in (keeping, memory_forecast):
        monkeypatch.setattr(room, "free_bytes", lambda device: int(free_gib * GIB))


def test_the_tiny_model_on_the_cpu(pictures):
    found = expected_memory(setting_on(pictures, None))
    assert (found.bucket.width, found.bucket.height) == (1024, 1024)
    assert found.line.startswith("memory: about ")
    assert " GiB at 1024 x 1024 (weights 0.0, LoRA" in found.line


def test_a_large_card_keeps_everything_and_a_small_one_what_fits(pictures, monkeypatch):
    setting = setting_on(pictures, GPU)
    real_on(monkeypatch, 79)
    assert expected_memory(setting).memory.activations / GIB == pytest.approx(14.7, abs=0.1)
    real_on(monkeypatch, 23)
    memory = expected_memory(setting).memory
    assert 11.6 < memory.resident.total / GIB < 12
    assert 21 < memory.peak / GIB < 22.5
    real_on(monkeypatch, 10)
    assert expected_memory(setting).memory.activations / GIB == pytest.approx(2.1, abs=0.1)


def test_float8_holds_its_codes_twice_where_there_is_room(pictures, monkeypatch):
    compute = replace(GPU, transformer_scheme="float8", float8_products=True)
    setting = setting_on(pictures, compute)
    real_on(monkeypatch, 79)
    assert expected_memory(setting).memory.resident.weights / GIB == pytest.approx(11.5, abs=0.1)
    real_on(monkeypatch, 23)
    assert expected_memory(setting).memory.resident.weights / GIB == pytest.approx(5.9, abs=0.1)


@pytest.mark.parametrize(
    ("compute", "overrides", "fused"),
    [
        (GPU, (), True),
        (GPU, ("target.type=loha",), False),
        (GPU, ("target.init=pissa",), False),
        (GPU, ("target.dropout=0.1",), False),
        (replace(GPU, transformer_scheme="nf4"), (), False),
        (replace(GPU, transformer_scheme="float8", float8_products=True), (), True),
        (None, (), False),
    ],
)
def test_which_way_the_blocks_will_run(pictures, compute, overrides, fused):
    assert runs_fused(setting_on(pictures, compute, *overrides)) is fused

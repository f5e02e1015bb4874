"""The benchmark of the memory tiers runs: on the tiny size, so that it does not fail on a rented card."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
OPTIONS = ["--size", "tiny", "--device", "cpu", "--steps", "1", "--warm-ups", "0"]
SMALL = ("sample.width=512", "sample.height=512", "sample.steps=1")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("memory_tiers")


def test_a_tier_is_measured_from_captions_to_previews(benchmark, tmp_path, monkeypatch, capsys):
    tiers = (benchmark.Tier("vram_8gb", 8, ("datasets.0.resolutions=[512, 640]", *SMALL)), "not chosen")
    monkeypatch.setattr(benchmark, "TIERS", tiers)
    out = tmp_path / "tiers.json"
    assert benchmark.main([*OPTIONS, "--out", str(out), "--tiers", "0"]) == 0
    report = json.loads(out.read_text())
    (tier,) = report["tiers"]
    assert (tier["transformer"], tier["gradient_checkpointing"], tier["card_gib"]) == ("nf4", "full", 8)
    assert {"captions", "latents", "load", "train_64", "train_80", "train_mixed", "previews"} <= set(tier)
    assert tier["train_64"]["ms_per_step_median"] > 0
    assert tier["load"]["lora_parameters"] > 0
    assert "vram_8gb" in capsys.readouterr().out


def test_a_part_that_fails_is_written_down_and_the_others_go_on(benchmark, tmp_path, monkeypatch):
    def fails(*arguments):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(benchmark, "encode_picture", fails)
    tiers = (benchmark.Tier("vram_80gb", 80, ("datasets.0.resolutions=[512]", *SMALL)),)
    monkeypatch.setattr(benchmark, "TIERS", tiers)
    out = tmp_path / "tiers.json"
    assert benchmark.main([*OPTIONS, "--out", str(out)]) == 1
    (tier,) = json.loads(out.read_text())["tiers"]
    assert tier["latents"]["error"] == "RuntimeError: no such kernel"
    assert "error" not in tier["train_64"]
    assert "error" not in tier["previews"]


def test_the_real_size_is_the_real_model(benchmark):
    """Counted on the meta device: 6,154,908,736 parameters, as published."""
    import torch
    from random_model import REAL_PARAMETERS, model_size

    from slipstream.core.quiet import quiet_imports

    with quiet_imports():
        from diffusers import ZImageTransformer2DModel
    with torch.device("meta"):
        model = ZImageTransformer2DModel.from_config(dict(model_size("real").transformer))
    assert sum(parameter.numel() for parameter in model.parameters()) == REAL_PARAMETERS

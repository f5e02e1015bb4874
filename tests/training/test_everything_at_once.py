"""Stopped and resumed with nearly every feature on at once, a run is the one that was never stopped, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from slipstream import worker
from slipstream.config.run_config import dump_yaml, parse_config
from slipstream.runs.create import create_run
from slipstream.runs.exit_codes import FINISHED, STOPPED
from slipstream.runs.layout import RunDir
from slipstream.runs.metrics import read_metrics

STEPS, STOP_AFTER = 4, 2
CASES = {
    "DoRA beside nf4, EMA, skipped updates": (
        "target.type=dora", "quantization.transformer=nf4", "training.optimizer=adamw",
        "training.ema={decay: 0.9, warmup: true}", "training.max_loss=2.3",
    ),
    "PiSSA beside int8, schedule-free": (
        "target.init=pissa", "target.rank_dropout=0.2", "quantization.transformer=int8",
        "training.optimizer=schedulefree_adamw",
    ),
}  # fmt: skip


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two folders of noise with alpha channels and captions of tags."""
    generator = torch.Generator().manual_seed(0)
    for folder in ("learned", "held"):
        (tmp_path / folder).mkdir()
        for number in range(3):
            noise_HW3 = torch.randint(0, 256, (96, 96 + 16 * number, 3), generator=generator, dtype=torch.uint8)
            picture = Image.fromarray(noise_HW3.numpy())
            picture.putalpha(Image.linear_gradient("L").resize(picture.size))
            picture.save(tmp_path / folder / f"{number}.png")
            (tmp_path / folder / f"{number}.txt").write_text("red, big, [trigger], soft")
    return tmp_path


def run_of(folder: Path, name: str, overrides: tuple[str, ...]) -> RunDir:
    settings = {
        "job": {"name": name, "trigger_word": "zz", "output_dir": str(folder), "device": "cpu"},
        "model": {"name_or_path": "tiny/turbo"},
        "target": {"rank": 4, "dropout": 0.1, "module_dropout": 0.1},
        "save": {"every": 2, "keep": 0},
        "training": {
            "steps": STEPS, "batch_size": 2, "gradient_accumulation": 2, "warmup_steps": 1, "noise_offset": 0.05,
            "stratified": True, "gradient_checkpointing": "full", "loss_type": "wavelet",
            "preservation": {"class_word": "thing", "multiplier": 0.5}, "contrastive_guidance": {"scale": 1.5},
            "validation": {"fraction": 0.3, "every": 2, "num_seeds": 1, "noise_levels": [0.3, 0.7]},
        },
        "datasets": [
            {
                "path": str(folder / "learned"), "resolutions": [64], "caption_shuffle": True, "flip_vertical": True,
                "caption_token_dropout": 0.2, "random_triggers": ["zz", "yy"], "crop": "random", "num_crops": 3,
                "crop_scale": 0.6, "flip_horizontal": True, "mask": {"source": "alpha", "prior_weight": 0.5},
                "cache_latents": False,
            },
            {
                "path": str(folder / "held"), "resolutions": [64, 80], "regularization": "prior", "lora_weight": 0.5,
                "loss_multiplier": 0.5,
            },
        ],
        "sample": {
            "every": 2, "prompts": ["[trigger] --m 0.5", "x"], "width": 64, "height": 64, "steps": 1,
            "at_start": False, "lora_scales": [0.5, 1.0],
        },
        "advanced": {"tensorboard": False},
    }  # fmt: skip
    run, _ = create_run(folder, name, dump_yaml(parse_config(settings, overrides)))
    return run


def facts_of(run: RunDir) -> tuple[list[dict[str, float]], str, dict[str, bytes]]:
    """Metrics apart from times, measurements, and pictures by name."""
    metrics = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    pictures = {path.name: Image.open(path).tobytes() for path in run.previews.glob("step_*.png")}
    return [row | {"seconds": 0, "time": 0} for row in metrics], run.validation.read_text(), pictures


@pytest.mark.parametrize("overrides", CASES.values(), ids=CASES)
def test_a_stopped_and_resumed_run_is_the_uninterrupted_one(pictures, monkeypatch, overrides):
    monkeypatch.setattr(worker.WorkerRequests, "listen", lambda self: None)
    whole, halved = run_of(pictures, "whole", overrides), run_of(pictures, "halved", overrides)
    assert worker.work(whole) == FINISHED, whole.log.read_text()

    def stop(requests: worker.WorkerRequests) -> bool:
        return not requests.loading and len(read_metrics(halved.metrics)) >= STOP_AFTER

    with monkeypatch.context() as patch:
        patch.setattr(worker.WorkerRequests, "stop", stop)
        assert worker.work(halved) == STOPPED, halved.log.read_text()
    assert worker.work(halved) == FINISHED, halved.log.read_text()
    assert f"resumed after step {STOP_AFTER}" in halved.log.read_text()
    assert facts_of(halved) == facts_of(whole)
    expected, found = load_file(whole.lora), load_file(halved.lora)
    assert expected.keys() == found.keys()
    assert all(torch.equal(tensor, found[key]) for key, tensor in expected.items())
    if "training.max_loss=2.3" in overrides:
        assert 0 < sum("skipped" in row for row in read_metrics(whole.metrics)) < STEPS

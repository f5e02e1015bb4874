"""Every preset trains: on the tiny family, two updates, with only what the tiny model needs changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from slipstream.config.presets import PRESETS, preset_text
from slipstream.config.run_config import RunConfig, dump_yaml, load_config
from slipstream.config.variants import tiny_name
from slipstream.runs.create import create_run
from slipstream.runs.metrics import read_metrics

CHECKPOINTED = {"vram_80gb": "none"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Latents are encoded once for all presets."""
    return tmp_path_factory.mktemp("cache")


def tiny_version(name: str, folder: Path) -> RunConfig:
    """The preset for the tiny family, with two pictures."""
    data = folder / "pictures"
    data.mkdir()
    for stem, colour in (("red", (200, 40, 40)), ("blue", (40, 40, 200))):
        Image.new("RGB", (80, 80), colour).save(data / f"{stem}.png")
    path = folder / f"{name}.yaml"
    path.write_text(preset_text(name), encoding="utf-8")
    variant = load_config(path).model.variant
    small = [
        f"job.output_dir={folder}", f"model.name_or_path={tiny_name(variant)}", f"datasets.0.path={data}",
        "datasets.0.resolutions=[64]", "training.steps=2", "training.warmup_steps=0", "sample.width=64",
        "sample.height=64", "sample.steps=2", "sample.at_start=false", "advanced.tensorboard=false",
    ]  # fmt: skip
    return load_config(path, small)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_trains(name, tmp_path, cache, monkeypatch):
    from slipstream import worker

    monkeypatch.setenv("SLIPSTREAM_CACHE", str(cache))
    monkeypatch.setattr(worker.WorkerRequests, "listen", lambda self: None)
    config = tiny_version(name, tmp_path)
    run, _ = create_run(tmp_path, config.job.name, dump_yaml(config))
    assert worker.work(run) == 0, run.log.read_text()
    assert run.lora.is_file()
    assert len(read_metrics(run.metrics)) == 2
    assert len(list(run.previews.glob("step_000000002_*.png"))) == len(config.sample.prompts)
    log = run.log.read_text()
    assert f"gradient checkpointing: {CHECKPOINTED.get(name, 'auto')} (" in log

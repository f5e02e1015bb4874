"""That pairs are pairs: arms of a seed really meet the same pictures, noise and preview noise."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import make_experiment
from PIL import Image, ImageDraw

from slipstream.config.run_config import dump_yaml
from slipstream.experiments.experiment import Experiment, PlannedRun
from slipstream.runs.create import create_run
from slipstream.runs.layout import RunDir
from slipstream.runs.metrics import read_metrics


def draw_pictures(folder: Path) -> None:
    """Six pictures that differ much, so that another order gives another loss."""
    folder.mkdir()
    for number in range(6):
        picture = Image.new("RGB", (64, 64), (40 * number, 200 - 30 * number, 90))
        ImageDraw.Draw(picture).ellipse((8, 8, 20 + 8 * number, 56), fill=(250, 40 * number, 10))
        picture.save(folder / f"{number}.png")


def train(experiment: Experiment, planned: PlannedRun) -> RunDir:
    """The run, trained in this process."""
    from slipstream import worker

    run, _ = create_run(experiment.runs_dir, planned.name, dump_yaml(experiment.config(planned)))
    assert worker.work(run) == 0, run.log.read_text()
    return run


def test_arms_of_a_seed_meet_the_same_pictures_and_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slipstream import worker

    monkeypatch.setenv("SLIPSTREAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(worker.WorkerRequests, "listen", lambda self: None)
    draw_pictures(tmp_path / "pictures")
    one = make_experiment(
        tmp_path, "target.rank=4,8", seeds=2, datasets=[{"path": "pictures", "resolutions": [64]}],
        training={"steps": 1, "drift": None}, advanced={"tensorboard": False},
        sample={"prompts": ["a fox"], "width": 64, "height": 64, "steps": 2},
    )  # fmt: skip
    first, other, next_seed = (train(one, planned) for planned in one.runs[:3])
    losses = [read_metrics(run.metrics)[0]["loss"] for run in (first, other, next_seed)]
    # a LoRA changes nothing before its first update, whatever its rank: only pictures, noise and noise levels are left
    assert losses[0] == losses[1] != losses[2]
    pictures = [Image.open(run.preview_image(0, 0)).tobytes() for run in (first, other, next_seed)]
    assert pictures[0] == pictures[1] == pictures[2]

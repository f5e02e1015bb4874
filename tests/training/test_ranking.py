"""`rank` on a run folder made by hand: a LoRA that does nothing, and one that breaks the model."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from slipstream.adapters.files import save_lora
from slipstream.adapters.inject import inject_fresh
from slipstream.adapters.kinds import Recipe
from slipstream.cli.app import app
from slipstream.config.run_config import dump_yaml, parse_config
from slipstream.core.errors import RunError
from slipstream.data.dataset import build_dataset
from slipstream.runs.layout import RunDir
from slipstream.runs.metrics import append_row
from slipstream.runs.progress import Progress, write_progress
from slipstream.runs.ranking import read_ranking
from slipstream.training.ranking_prompts import ask, spread
from slipstream.training.setting import dataset_settings
from slipstream.workflows import rank
from slipstream.workflows.rank import checkpoints_of

PICTURES = Path(__file__).parents[2] / "examples" / "foxy_style"
TARGETS = ["layers.0.attention.to_q", "layers.2.feed_forward.w2"]


def config_of(folder: Path, *, trigger_word: str = "felt", prompts: tuple[str, ...] = ()):
    return parse_config(
        {
            "job": {"name": "hand", "trigger_word": trigger_word, "output_dir": str(folder)},
            "model": {"variant": "turbo", "name_or_path": "tiny/turbo", "training_adapter": "v2"},
            "datasets": [{"path": str(folder / "pictures"), "resolutions": [128]}],
            "sample": {"prompts": list(prompts), "steps": 2},
        },
        source="test",
        base_dir=folder,
    )


@pytest.fixture
def run(tiny, tmp_path: Path) -> RunDir:
    (tmp_path / "pictures").mkdir()
    for name in ("alien", "bear", "church"):
        for ending in ("png", "txt"):
            shutil.copy(PICTURES / f"{name}.{ending}", tmp_path / "pictures")
    found = RunDir(tmp_path / "hand")
    found.checkpoints.mkdir(parents=True)
    prompts = ("a [trigger] emoji of cat face", "a noto emoji of dog face")
    found.config.write_text(dump_yaml(config_of(tmp_path, prompts=prompts)))
    write_progress(found, Progress("finished", step=200, steps=200))
    for step, size in ((100, 0.0), (200, 0.5)):
        branches = inject_fresh(copy.deepcopy(tiny.transformer), TARGETS, Recipe("lora", 4, 4.0), seed=1)
        generator = torch.Generator().manual_seed(5)
        for parameter in branches.parameters():
            parameter.data += torch.randn(parameter.shape, generator=generator) * size
        save_lora(found.checkpoints / f"hand_{step:09d}.safetensors", branches, torch.float32, {})
    return found


def test_a_lora_that_does_nothing_has_no_strength_and_costs_nothing(run, monkeypatch):
    monkeypatch.setattr(rank, "WEIGHTS", (0.5, 1.0))
    for step, loss in ((0, 1.0), (100, 1.0), (200, 1.5)):
        append_row(run.validation, {"step": step, "loss": loss, "sigma_0.5": loss})
    result = CliRunner().invoke(app, ["rank", str(run.path), "--prompts", "2", "--device", "cpu", "--json"])
    assert result.exit_code == 0, result.output
    found = read_ranking(run)
    assert found is not None
    printed = json.loads(result.stdout[result.stdout.index("{\n") :])
    assert printed["recommended"] == found["recommended"]
    idle, broken = found["checkpoints"]
    assert idle["strength"] == idle["taught"] == idle["drift"] == idle["leak_same"] == idle["leak_unrelated"] == 0
    assert (idle["light"], idle["diversity"], idle["price"]) == ("green", 1.0, 0.0)
    assert broken["held_out_rise"] == {"loss": 0.5, "0.5": 0.5}
    assert broken["drift"] > 1
    assert broken["price"] > 0.25
    assert found["recommended"]["step"] == 100
    assert "weak in every checkpoint" in found["recommended"]["reason"]
    page = run.ranking_page.read_text()
    assert page.count("<svg") == 3
    assert str(run.path.parent) not in page + run.ranking.read_text()
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")


def test_another_file_is_not_written_over(run):
    other = run.path / "page.html"
    other.write_text("mine")
    result = CliRunner().invoke(app, ["rank", str(run.path), "--out", str(other)])
    assert "something else lies where the page would go" in str(result.exception)
    assert other.read_text() == "mine"


def test_a_run_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(RunError, match="no checkpoint"):
        checkpoints_of(RunDir(tmp_path))


def test_the_finished_lora_counts_where_its_checkpoint_is_gone(run):
    shutil.move(run.checkpoints / "hand_000000200.safetensors", run.lora)
    assert [(one.step, one.path.name) for one in checkpoints_of(run)] == [
        (100, "hand_000000100.safetensors"),
        (200, "hand.safetensors"),
    ]


def test_prompts_follow_from_the_run(run):
    folder = run.path.parent
    config = config_of(folder, prompts=("a [trigger] emoji of cat face", "a noto emoji of dog face"))
    asked = ask(config, build_dataset(dataset_settings(config)), 4, 2)
    texts = [picture.prompt for picture in asked.concept]
    assert texts[:2] == ["a felt emoji of cat face"] * 2
    assert len(texts) == 8
    assert len({picture.seed for picture in asked.of_a_checkpoint}) == len(asked.of_a_checkpoint)
    assert next(picture.prompt for picture in asked.same) == "a emoji of cat face"
    assert not any("felt" in picture.prompt for picture in (*asked.same, *asked.unrelated))
    assert len(asked.taught) == 2
    nameless = config_of(folder, trigger_word="", prompts=("a cat face",))
    asked = ask(nameless, build_dataset(dataset_settings(nameless)), 4, 2)
    assert ([picture.prompt for picture in asked.concept], asked.same) == (["a cat face"] * 2, ())


def test_things_are_spread_evenly():
    assert spread(range(10), 3) == [0, 3, 6]
    assert spread(range(2), 3) == [0, 1]

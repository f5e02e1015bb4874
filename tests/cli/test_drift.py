"""`slipstream drift` on the tiny family: figures, files, and what it says."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from slipstream.adapters.files import save_lora
from slipstream.adapters.inject import inject_lora
from slipstream.cli.app import app
from slipstream.core.errors import ConfigError
from slipstream.workflows import drift as drift_module
from slipstream.workflows.drift import DriftRequest, Watch, measure_drift
from slipstream.workflows.drift_target import find_target

METADATA = {
    "base_model": "tiny/turbo", "steps": "40", "training_adapter": "none", "modelspec.trigger_phrase": "felt",
    "modelspec.architecture": "z-image-turbo/lora", "config": "training:\n  learning_rate: 0.0002\n",
}  # fmt: skip


def lora_file(tiny, path: Path, strength: float, metadata: dict[str, str] = METADATA) -> Path:
    """A LoRA of noise on some linears of the first block."""
    targets = [f"layers.0.attention.{linear}" for linear in ("to_q", "to_k", "to_v")]
    branches = inject_lora(copy.deepcopy(tiny.transformer), targets, rank=4, alpha=4.0, seed=1)
    generator = torch.Generator().manual_seed(3)
    for parameter in branches.parameters():
        parameter.data += strength * torch.randn(parameter.shape, generator=generator)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_lora(path, branches, torch.float32, metadata)
    return path


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    (tmp_path / "prompts.txt").write_text("a noto emoji of cat\na flat emoji of bell\n", encoding="utf-8")
    return tmp_path / "prompts.txt"


def test_the_whole_test_of_a_file(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drift_module, "TRIED_STEPS", (4, 8))
    monkeypatch.setattr(drift_module, "TRIED_GUIDANCE", (0.0, 2.0))
    lora = lora_file(tiny, tmp_path / "noise.safetensors", 0.3)
    told: list[tuple[int, int]] = []
    watch = Watch(measuring=lambda what, done, total: told.append((done, total)))
    asked = DriftRequest(str(lora), tmp_path / "out", prompts=("a noto emoji of cat", "a felt bell"), side=64)
    found = measure_drift(asked, watch)
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    newest = found.newest
    assert (found.base, found.variant, newest.step, found.training.adapter) == ("tiny/turbo", "turbo", 40, "none")
    assert newest.light in ("green", "yellow", "red")
    assert newest.levels[0].sigma == 1.0
    assert len(newest.levels) == 8
    assert all(level.velocity > 0 for level in newest.levels)
    assert newest.distance > 0
    assert newest.few_to_many is not None
    assert [(cell.steps, cell.guidance_scale) for cell in newest.cells] == [(4, 0), (4, 2), (8, 0), (8, 2), (30, 0)]
    usual = next(cell for cell in newest.cells if (cell.steps, cell.guidance_scale) == (8, 0))
    assert (usual.gain, usual.distance) == (0, pytest.approx(newest.distance, rel=0.02))
    assert any("trigger word 'felt'" in note for note in found.notes)
    assert json.loads((tmp_path / "out/drift.json").read_text())["verdict"] == found.verdict
    page = (tmp_path / "out/drift.html").read_text()
    assert page.count("data:image/webp") == 2 * (3 + 5) + (2 if "CFG 2</th>" in page else 0)
    assert str(tmp_path) not in page


def test_a_lora_that_does_nothing_is_turbo_to_the_bit(tiny, tmp_path: Path, prompts: Path):
    lora = lora_file(tiny, tmp_path / "idle.safetensors", 0.0)
    arguments = ["drift", str(lora), "--quick", "--prompts", str(prompts), "--size", "64", "--json"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    newest = found["loras"][0]
    assert (newest["score"], newest["distance"], newest["light"]) == (0, 0, "green")
    assert newest["few_to_many"] == found["base_few_to_many"]
    assert newest["spectrum"] == pytest.approx([1.0] * 16)
    assert found["turbo"] is True
    assert newest["cells"] == []


def test_all_checkpoints_of_a_run_on_another_base(tiny, tmp_path: Path, prompts: Path):
    run = tmp_path / "runs/cat"
    for step, strength in ((10, 0.1), (20, 0.3)):
        lora_file(tiny, run / f"checkpoints/cat_{step:09d}.safetensors", strength)
    asked = DriftRequest(str(run), tmp_path / "out", True, "tiny/de-turbo", ("a noto emoji of cat",), 2, 64, quick=True)
    found = measure_drift(asked, Watch())
    assert [one.step for one in found.loras] == [10, 20]
    assert found.loras[0].distance < found.loras[1].distance
    assert (found.steps, found.guidance_scale, found.newest.light, found.newest.few_to_many) == (25, 2.5, None, None)
    assert any("trained for tiny/turbo, measured on tiny/de-turbo" in note for note in found.notes)
    assert any("no few-step model" in note for note in found.notes)
    assert "Over the checkpoints" in (tmp_path / "out/drift.html").read_text()


def test_targets(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    lora_file(tiny, tmp_path / "runs/cat/cat.safetensors", 0.1)
    (tmp_path / "runs/cat/config.yaml").write_text("job: {name: cat}\nmodel: {variant: base}\ndatasets: [{path: .}]\n")
    by_name = find_target("cat", all_checkpoints=False)
    assert by_name.name == "cat"
    assert by_name.base is not None
    assert (by_name.base.model, by_name.variant) == ("Tongyi-MAI/Z-Image", "base")
    assert by_name.training.learning_rate == 2e-4
    foreign = lora_file(tiny, tmp_path / "other.safetensors", 0.1, {})
    target = find_target(str(foreign), all_checkpoints=False)
    assert (target.base, target.training.adapter, target.loras[0].step) == (None, None, None)
    (tmp_path / "runs/empty").mkdir()
    for text, every, words in (
        ("nothing", False, "no LoRA file"), ("runs/empty", False, "no LoRA yet"),
        ("other.safetensors", True, "single file"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            find_target(text, all_checkpoints=every)


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--size", "100"], "no side of a picture"), (["--prompts", "flags.txt"], "settings of its own")],
)
def test_options_are_refused_before_anything_loads(tmp_path: Path, monkeypatch, options: list[str], words: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flags.txt").write_text("a cat --s 20\na dog\n")
    with pytest.raises(ConfigError, match=words):
        CliRunner().invoke(app, ["drift", "x.safetensors", *options], catch_exceptions=False)


def test_one_picture_is_refused(tiny, tmp_path: Path):
    lora = lora_file(tiny, tmp_path / "noise.safetensors", 0.3)
    with pytest.raises(ConfigError, match="one picture is no measurement"):
        measure_drift(DriftRequest(str(lora), tmp_path / "out", prompts=("a cat",)), Watch())

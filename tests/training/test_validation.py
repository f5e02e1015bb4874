"""Measurements on held-out pictures: they move nothing, come back after a resume, and show overfitting."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream.runs.layout import RunDir
from slipstream.runs.validation import read_rows
from slipstream.training.validation_stage import ValidationStage

CPU = torch.device("cpu")
CONFIG = """\
job: {{name: held, seed: 1, output_dir: {output}}}
model: {{variant: turbo, name_or_path: tiny/turbo}}
target: {{rank: 2, target_modules: [attention.to_q], dropout: 0.2}}
save: {{every: 2, keep: 1}}
training: {{steps: 4, optimizer: {optimizer}, learning_rate: 1e-3, validation: {validation}}}
datasets: [{{path: {data}, resolutions: [64], caption_dropout: 0.0}}]
sample: {{every: 0, at_start: false, prompts: []}}
advanced: {{tensorboard: false}}
"""


def write_pictures(folder: Path, numbers: list[int], sides: tuple[int, int] = (80, 80)) -> Path:
    folder.mkdir()
    y, x = np.mgrid[0 : sides[0], 0 : sides[1]]
    for number in numbers:
        waves = [np.sin(x / (4 + number + channel)) + np.cos(y / (7 + number)) for channel in range(3)]
        Image.fromarray(np.uint8(127 + 60 * np.stack(waves, -1))).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def start(tmp_path) -> Callable[..., RunDir]:
    """Train two pictures in this process, with or without two held-out ones; `stop_at` ends it early."""
    from slipstream import worker
    from slipstream.config.run_config import dump_yaml, load_config
    from slipstream.runs.create import create_run

    data, held = write_pictures(tmp_path / "data", [1, 2]), write_pictures(tmp_path / "held", [5, 6])

    def go(name: str, *, measured: bool = True, stop_at: int | None = None, optimizer: str = "adamw") -> RunDir:
        validation = f"{{path: {held}, every: 2, noise_levels: [0.2, 0.8]}}" if measured else "null"
        path = tmp_path / f"{name}.yaml"
        path.write_text(CONFIG.format(output=tmp_path / "runs", data=data, validation=validation, optimizer=optimizer))
        config = load_config(path, [f"job.name={name}"])
        run = RunDir(tmp_path / "runs" / name)
        if not run.path.exists():
            run, _ = create_run(tmp_path / "runs", name, dump_yaml(config), fresh=True)
        with pytest.MonkeyPatch.context() as patch:
            if stop_at is not None:
                patch.setattr(worker.WorkerRequests, "stop", lambda _: last_step(run) == stop_at)
            worker.work(run)
        return run

    return go


def last_step(run: RunDir) -> int:
    return len(run.metrics.read_text().splitlines()) if run.metrics.exists() else 0


@pytest.mark.parametrize("optimizer", ["adamw", "schedulefree_adamw"])
def test_measuring_changes_no_bit_of_what_is_learned_and_a_resumed_run_measures_the_same(start, optimizer):
    plain, whole = start("plain", measured=False, optimizer=optimizer), start("whole", optimizer=optimizer)
    losses = [json.loads(line)["loss"] for line in whole.metrics.read_text().splitlines()]
    assert losses == [json.loads(line)["loss"] for line in plain.metrics.read_text().splitlines()]
    rows = read_rows(whole.validation)
    assert [row["step"] for row in rows] == [0, 2, 4]
    assert all(row["loss"] == pytest.approx((row["sigma_0.2"] + row["sigma_0.8"]) / 2) for row in rows)
    assert len({row["loss"] for row in rows}) == 3
    log = whole.log.read_text()
    assert log.count("validation after step") == 3
    assert "2 pictures" in log
    assert "8 predictions every 2 steps" in log
    assert 'id="validation"' in whole.report.read_text()

    parts = start("parts", stop_at=3, optimizer=optimizer)
    assert [row["step"] for row in read_rows(parts.validation)] == [0, 2]
    parts = start("parts", optimizer=optimizer)
    assert read_rows(parts.validation) == rows


@dataclass(frozen=True)
class Pictured:
    content_hash: str


@dataclass(frozen=True)
class Held:
    """As much of an example as a measurement asks for."""

    row: int
    bucket: str = "64x64"

    @property
    def image(self) -> Pictured:
        return Pictured(str(self.row))

    @property
    def caption(self) -> str:
        return str(self.row)


def stage_of(bench, state: Any, rows: list[int], **changes: Any) -> ValidationStage:
    settings: dict[str, Any] = {
        "reporter": None, "state": state, "examples": [Held(row) for row in rows],
        "latents": lambda example, view: bench.latents[example.row],
        "features": lambda caption: bench.texts[int(caption)],
        "predict": bench.predict, "levels": (0.3, 0.7), "num_seeds": 2, "patience": 3, "seed": 5, "batch_size": 4,
        "device": CPU,
    }  # fmt: skip
    return ValidationStage(**{**settings, **changes})


@pytest.fixture
def quiet(monkeypatch):
    """Losses without a reporter's files."""
    from contextlib import contextmanager

    @contextmanager
    def phase(name, total):
        yield lambda done, total: None

    reporter = type("Silent", (), {"phase": staticmethod(phase)})()
    return lambda stage: ValidationStage(**{**stage.__dict__, "reporter": reporter})._losses()


def test_the_noise_is_the_pictures_own_whatever_stands_beside_it(bench, quiet):
    state = bench.state()
    both, alone = quiet(stage_of(bench, state, [0, 1])), quiet(stage_of(bench, state, [1], batch_size=1))
    for sigma in (0.3, 0.7):
        assert len(both[sigma]) == 4
        assert len(set(both[sigma])) == 4
        assert both[sigma][2:] == pytest.approx(alone[sigma], rel=1e-5)
    assert quiet(stage_of(bench, state, [1], seed=6)) != alone
    before = torch.random.get_rng_state()
    assert quiet(stage_of(bench, state, [0, 1])) == both
    assert torch.equal(before, torch.random.get_rng_state())


def test_learning_two_pictures_by_heart_shows_in_the_curve_and_brings_advice(tmp_path):
    from slipstream import worker
    from slipstream.config.run_config import dump_yaml, load_config
    from slipstream.runs.create import create_run

    pictures = sorted((Path(__file__).parents[2] / "examples/foxy_style").glob("*.png"))[:4]
    for folder, chosen in (("data", pictures[:2]), ("held", pictures[2:])):
        (tmp_path / folder).mkdir()
        for picture in chosen:
            for part in (picture, picture.with_suffix(".txt")):
                (tmp_path / folder / part.name).write_bytes(part.read_bytes())
    validation = "{path: held, every: 10, noise_levels: [0.1, 0.3], num_seeds: 1, patience: 2}"
    path = tmp_path / "run.yaml"
    path.write_text(
        CONFIG.format(output=tmp_path / "runs", data="data", validation=validation, optimizer="adamw")
        .replace("steps: 4", "steps: 40, batch_size: 2")
        .replace("1e-3", "5e-3")
        .replace("rank: 2, target_modules: [attention.to_q], dropout: 0.2", "rank: 16")
        .replace("every: 2, keep: 1", "every: 10, keep: 1")
    )
    run, _ = create_run(tmp_path / "runs", "held", dump_yaml(load_config(path)), fresh=True)
    worker.work(run)
    trained = [json.loads(line)["loss"] for line in run.metrics.read_text().splitlines()]
    rows = read_rows(run.validation)
    best = min(rows, key=lambda row: row["loss"])
    assert sum(trained[-5:]) < 0.5 * sum(trained[:5])
    assert 0 < best["step"] < 40
    assert rows[-1]["loss"] > 1.2 * best["loss"]
    assert f"advice: validation loss was lowest at step {best['step']}" in run.log.read_text()
    names = {path.name for path in run.checkpoints.glob("*.safetensors")}
    assert f"held_{best['step']:09d}.safetensors" in names, "keep 1 spares the best"

"""Drift while training: measuring moves nothing, the guard acts, and a resumed run measures and acts the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream.runs.drift import read_rows
from slipstream.runs.layout import RunDir
from slipstream.training import drift_stage

CONFIG = """\
job: {{name: drifting, seed: 1, output_dir: {output}}}
model: {{variant: {variant}, name_or_path: tiny/{model}}}
target: {{rank: 2, target_modules: [attention.to_q], dropout: 0.2}}
save: {{every: 2, keep: 1}}
training: {{steps: 6, optimizer: adamw, learning_rate: 1e-2, ema: {{decay: 0.5}}, drift: {drift}}}
datasets: [{{path: {data}, resolutions: [64], caption_dropout: 0.0}}]
sample: {{every: 0, at_start: false, prompts: []}}
advanced: {{tensorboard: false}}
"""
Train = Callable[..., RunDir]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Train two pictures in this process; `stop_at` ends it early."""
    from slipstream import worker
    from slipstream.config.run_config import dump_yaml, load_config
    from slipstream.runs.create import create_run

    (tmp_path / "data").mkdir()
    y, x = np.mgrid[0:80, 0:80]
    for number in (1, 2):
        waves = [np.sin(x / (4 + number + channel)) + np.cos(y / (7 + number)) for channel in range(3)]
        Image.fromarray(np.uint8(127 + 60 * np.stack(waves, -1))).save(tmp_path / f"data/{number}.png")

    def go(name: str, drift: str, stop_at: int | None = None, variant: str = "turbo") -> RunDir:
        path = tmp_path / f"{name}.yaml"
        model = variant.replace("_", "-")
        path.write_text(
            CONFIG.format(output=tmp_path / "runs", data=tmp_path / "data", drift=drift, variant=variant, model=model)
        )
        run = RunDir(tmp_path / "runs" / name)
        if not run.path.exists():
            run, _ = create_run(tmp_path / "runs", name, dump_yaml(load_config(path, [f"job.name={name}"])), fresh=True)
        with pytest.MonkeyPatch.context() as patch:
            if stop_at is not None:
                patch.setattr(worker.WorkerRequests, "stop", lambda _: len(updates(run)) == stop_at)
            worker.work(run)
        return run

    return go


def updates(run: RunDir) -> list[dict]:
    return [json.loads(line) for line in run.metrics.read_text().splitlines()] if run.metrics.exists() else []


def learned(run: RunDir) -> dict:
    newest = max(run.checkpoints.glob("state_*.pt"))
    return torch.load(newest, weights_only=True)["lora"]


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_measuring_changes_no_bit_of_what_is_learned(train: Train):
    plain, measured = (
        train("plain", "null"),
        train("measured", "{every: 2, guard: warn, prompts: [a noto emoji of owl]}"),
    )
    assert same(learned(plain), learned(measured))
    assert [row["loss"] for row in updates(plain)] == [row["loss"] for row in updates(measured)]
    rows = read_rows(measured.drift)
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert len({row["score"] for row in rows}) == 3
    assert all(set(row["changes"]) == {"1", "0.83", "0.3"} == set(row["detail"]) for row in rows)
    log = measured.log.read_text()
    assert log.count("drift after step") == 3
    assert "1 own prompts at 128 x 128, 3 predictions every 2 steps; guard: warn" in log
    assert not plain.drift.exists()
    assert 'id="drift"' in measured.report.read_text()


def test_the_guard_lowers_the_rate_and_a_resumed_run_is_bit_identical(train: Train, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drift_stage, "light", lambda score: "yellow")
    guarded = "{every: 2, guard: lower_learning_rate, lowest_rate: 0.3, prompts: [a noto emoji of owl]}"
    whole = train("whole", guarded)
    rows = read_rows(whole.drift)
    assert rows[0]["rate_factor"] == 0.5
    rates = [row["learning_rate"] / 1e-2 for row in updates(whole)]
    factors = [1.0, *(row["rate_factor"] for row in rows[:2])]
    assert rates == pytest.approx([factor for factor in factors for _ in range(2)])
    assert whole.log.read_text().count("drift guard:") == 3

    train("parts", guarded, stop_at=2)  # stopped before the measurement that was due
    assert not read_rows(RunDir(whole.path.parent / "parts").drift)
    parts = train("parts", guarded, stop_at=5)
    assert [row["step"] for row in read_rows(parts.drift)] == [2, 4]
    parts = train("parts", guarded)
    assert read_rows(parts.drift) == rows
    assert same(learned(parts), learned(whole))


def test_the_guard_can_end_a_training_which_is_then_whole(train: Train, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drift_stage, "light", lambda score: "red")
    run = train("ended", "{every: 2, guard: stop, prompts: [a noto emoji of owl]}")
    assert len(updates(run)) == 4
    assert run.lora.is_file()
    assert [row["ended_early"] for row in read_rows(run.drift)] == [False, True]
    log = run.log.read_text()
    assert "finished: ended.safetensors, 4 updates, ended early by the drift guard" in log
    train("ended", "")
    assert len(updates(run)) == 4, "resumed it stays ended"
    text = run.config.read_text()
    run.config.write_text(text.replace("guard: stop", "guard: warn"))
    train("ended", "")
    assert len(updates(run)) == 6


def test_other_bases_are_not_measured(train: Train):
    run = train("other", "{every: 2}", variant="de_turbo", stop_at=1)
    assert not run.drift.exists()
    assert "drift meter: off (de_turbo has no few steps" in run.log.read_text()

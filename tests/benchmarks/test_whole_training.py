"""The product's own training is measured as it runs; tables and documentation say what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from slipstream.config.imports.open import open_config
from slipstream.runs.layout import RunDir
from slipstream.runs.phases import PhaseSpan, append_phase

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"


@pytest.mark.slow
def test_a_training_is_measured_from_its_launch_to_its_end(benchmark, tmp_path):
    product, writer, sizes = benchmark("whole_training"), benchmark("write_random_model"), benchmark("random_model")
    writer.write_model(tmp_path / "model", sizes.model_size("tiny"), torch.device("cpu"))
    options = ["--model", str(tmp_path / "model"), "--out", str(tmp_path / "out"), "--size", "tiny", "--modes", "bf16",
               "--resolutions", "512", "640", "--steps", "6", "--skip", "1", "--pictures", "1", "--previews", "1",
               "--no-restart"]  # fmt: skip
    assert product.main(options) == 0
    rows = json.loads((tmp_path / "out/step_time.json").read_text())
    assert [(row["resolution"], row["source"]) for row in rows] == [
        (512, "slipstream train"),
        (640, "slipstream train"),
    ]
    assert all(row["ms_per_step_median"] > 0 and row["rank"] == 16 for row in rows)
    (whole,) = json.loads((tmp_path / "out/product_run.json").read_text())
    assert whole["exit_code"] == 0
    assert {"load text encoder", "encode captions", "load VAE", "encode pictures", "load transformer"} <= {
        span["phase"] for span in whole["phases"]
    }
    assert whole["until_first_phase"] < whole["until_first_step"] < whole["total_seconds"]
    assert len(whole["preview_seconds_per_picture"]) == len(whole["save_seconds"]) == 2
    assert (tmp_path / "out/product_bf16_log.txt").is_file()


def test_steps_beside_saves_and_first_steps_do_not_count(benchmark, tmp_path):
    product = benchmark("whole_training")
    run = RunDir(tmp_path)
    times = [(64, 100.0), (64, 101.0), (96, 103.0), (64, 103.5), (96, 105.0), (64, 115.0), (64, 115.5)]
    rows = [{"step": step, "width": side, "time": at, "epoch": step / 2} for step, (side, at) in enumerate(times, 1)]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    append_phase(run.phases, PhaseSpan("previews", 105.2, 9.0, 5))
    finished = SimpleNamespace(run=run)
    assert product.step_seconds(finished, 1) == {64: [0.5, 0.5], 96: [2.0, 1.5]}


def test_a_row_replaces_the_older_one_of_the_same_thing(benchmark, tmp_path):
    results = benchmark("results")
    path = tmp_path / "step_time.json"
    row = {"device": "X", "mode": "bf16", "resolution": 512, "ms_per_step_median": 9.0, "source": "slipstream train"}
    results.merge(path, [row, row | {"resolution": 768}])
    merged = results.merge(path, [row | {"ms_per_step_median": 8.0}])
    assert [(each["resolution"], each["ms_per_step_median"]) for each in merged] == [(512, 8.0), (768, 9.0)]


def test_the_documentation_shows_the_results(benchmark):
    tables = benchmark("tables")
    text = tables.DOCS.read_text(encoding="utf-8")
    assert text == tables.with_tables(text, tables.tables()), "run `python benchmarks/tables.py`"


def test_one_command_runs_every_part_and_outlives_one_that_fails(benchmark, tmp_path, monkeypatch):
    everything = benchmark("__main__", as_name="benchmarks_main")
    scripts = {
        "fails.py": "raise SystemExit(3)",
        "hangs.py": "import time; time.sleep(60)",
        "writes.py": "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('[]')",
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(text)
    part = everything.Part
    parts = (
        part("one", "fails.py", (), 20), part("two", "hangs.py", (), 0.5), part("three", "not_there.py", (), 20),
        part("four", "writes.py", ("{out}/step_profile.json",), 20), part("five", "fails.py", (), 20, cuda=True),
    )  # fmt: skip
    monkeypatch.setattr(everything, "PARTS", parts)
    monkeypatch.setattr(everything, "HERE", tmp_path)
    out = tmp_path / "out"
    assert everything.main(["--out", str(out), "--size", "tiny"]) == 2
    ended = json.loads((out / "summary.json").read_text())["parts"]
    assert ended["one"]["error"] == "ended with code 3"
    assert "took longer" in ended["two"]["error"]
    assert "skipped" in ended["three"]
    assert "skipped" in ended["five"]
    assert (out / "step_profile.json").is_file()
    assert "step_time" in (out / "tables.md").read_text()


@pytest.mark.parametrize(
    ("name", "precision"), [("ai_toolkit_bf16.yaml", "auto"), ("ai_toolkit_defaults.yaml", "float8")]
)
def test_the_files_for_ai_toolkit_mean_what_ours_do(name, precision):
    config = open_config(PEERS / name, ["datasets.0.path=."]).config
    assert (config.target.rank, config.training.batch_size) == (16, 1)
    assert config.quantization.transformer == precision
    assert config.datasets[0].resolutions == (512, 768, 1024)
    assert config.model.training_adapter == "v2"


@pytest.mark.parametrize("name", ["musubi.sh", "diffusers.sh"])
def test_the_commands_of_the_others_mean_what_ours_do(name, tmp_path):
    script = tmp_path / name
    text = (PEERS / name).read_text().replace("$RESOLUTION", "768").replace("$CONFIG", str(PEERS / "musubi.toml"))
    script.write_text(text)
    config = open_config(script).config
    assert (config.target.rank, config.training.batch_size) == (16, 1)
    assert config.training.gradient_checkpointing == "auto"
    assert 768 in [side for panel in config.datasets for side in panel.resolutions]

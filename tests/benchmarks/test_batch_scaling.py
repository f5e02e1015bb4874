"""The benchmark of batches, budgets and unequal captions runs on the tiny size."""

from __future__ import annotations

import json

OPTIONS = ["--size", "tiny", "--device", "cpu", "--steps", "1", "--warm-ups", "0", "--resolutions", "512"]


def test_every_part_is_measured(benchmark, tmp_path):
    out = tmp_path / "scaling.json"
    parts = ["--batches", "1", "2", "--budgets", "none", "0.004 GiB", "full"]
    assert benchmark("batch_scaling").main([*OPTIONS, *parts, "--out", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [row["part"] for row in rows] == ["batches"] * 2 + ["budgets"] * 3 + ["unequal"] * 2
    assert all(row.get("ms_per_sample", 1) > 0 for row in rows)
    assert rows[3]["plan"].startswith("activations at 64 x 64: ")
    assert [row["captions"] for row in rows[5:]] == [[128, 128], [64, 192]]


def test_a_measurement_that_fails_leaves_the_others_alone(benchmark, tmp_path, monkeypatch):
    module = benchmark("batch_scaling")
    monkeypatch.setattr(module.Scaling, "update_ms", lambda self, side: 1 / 0)
    out = tmp_path / "scaling.json"
    assert module.main([*OPTIONS, "--parts", "batches", "unequal", "--batches", "1", "--out", str(out)]) == 1
    rows = json.loads(out.read_text())["rows"]
    assert "ZeroDivisionError" in rows[0]["error"]
    assert "error" not in rows[1]

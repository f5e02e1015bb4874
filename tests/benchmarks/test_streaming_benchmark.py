"""The benchmark of streaming blocks runs on the tiny size."""

from __future__ import annotations

import json

OPTIONS = ["--size", "tiny", "--device", "cpu", "--modes", "float8", "--steps", "1", "--warm-ups", "1",
           "--resolutions", "512"]  # fmt: skip


def test_a_row_says_time_and_copies(benchmark, tmp_path):
    module = benchmark("streaming")
    out = tmp_path / "rows.json"
    assert module.main([*OPTIONS, "--out", str(out), "--only", "float8", "100"]) == 0
    (row,) = json.loads(out.read_text())
    assert row["ms_per_step_median"] > 0
    assert row["copies_per_step"] == 2 * (row["blocks"] - 2)
    assert not row["graphs"]


def test_one_that_fails_is_written_down(benchmark, tmp_path):
    out = tmp_path / "rows.json"
    module = benchmark("streaming")
    assert module.main([*OPTIONS, "--percents", "0", "--set", "target.rank=-1", "--out", str(out)]) == 1
    (row,) = json.loads(out.read_text())
    assert "error" in row

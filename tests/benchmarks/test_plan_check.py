"""The benchmark of plans, dry: every case has its prediction and its measurement, and a failure is a row."""

from __future__ import annotations

import json


def test_a_case_has_prediction_and_measurement(benchmark, tmp_path):
    check = benchmark("plan_check")
    out = tmp_path / "row.json"
    given = ["--one", "0", "--size", "tiny", "--device", "cpu", "--steps", "1", "--out", str(out)]
    assert check.main(given) == 0
    row = json.loads(out.read_text())
    assert "error" not in row
    assert row["ms_per_step_median"] > 0
    assert row["predicted_peak_gib"] > 3
    assert (row["cap_gib"], row["resolution"], row["recovered"]) == (8, 512, 0)


def test_a_case_that_fails_is_a_row(benchmark, tmp_path, monkeypatch):
    check = benchmark("plan_check")
    monkeypatch.setattr(check, "CASES", (check.Case(8, 512),))
    out = tmp_path / "rows.json"
    given = ["--cases", "0", "--size", "tiny", "--device", "nowhere", "--out", str(out)]
    assert check.main(given) == 1
    (row,) = json.loads(out.read_text())
    assert row["case"] == 0
    assert "nowhere" in row["error"]


def test_there_are_twenty_cases(benchmark):
    assert len(benchmark("plan_check").CASES) == 20

"""The benchmark of plans, dry: every case has its prediction and its measurement, and a failure is a row."""

from __future__ import annotations

import json
import random


def test_a_case_has_prediction_and_measurement(benchmark, tmp_path):
    check = benchmark("plan_check")
    out = tmp_path / "memory.json"
    given = ["--cases", "4", "--size", "tiny", "--device", "cpu", "--steps", "1", "--out", str(out)]
    assert check.main(given) == 0
    (row,) = json.loads(out.read_text())
    assert "error" not in row
    assert row["ms_per_step_median"] > 0
    assert row["predicted_peak_gib"] > 3
    assert (row["cap_gib"], row["resolution"], row["recovered"]) == (7.5, 512, 0)


def test_a_case_that_fails_is_a_row(benchmark, tmp_path):
    check = benchmark("plan_check")
    out = tmp_path / "memory.json"
    given = ["--cases", "4", "5", "--size", "tiny", "--device", "nowhere", "--out", str(out)]
    assert check.main(given) == 2
    rows = json.loads(out.read_text())
    assert [row["resolution"] for row in rows] == [512, 768]
    assert all("nowhere" in row["error"] for row in rows)


def test_there_are_twenty_cases_and_any_number_of_random_ones(benchmark):
    check = benchmark("plan_check")
    assert len(check.CASES) == 20
    first, second = ([check.random_case(random.Random(seed)) for _ in range(3)] for seed in (1, 2))
    assert first != second
    assert first == [check.random_case(random.Random(1)) for _ in range(3)]

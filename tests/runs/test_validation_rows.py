"""`validation.jsonl`: what is read back, the best step, and when to take an earlier checkpoint."""

from __future__ import annotations

import pytest

from slipstream.runs.metrics import append_row, truncate_after
from slipstream.runs.validation import best_row, level_key, level_keys, overfitting_advice, read_rows


def rows(*losses: float, every: int = 50) -> list[dict[str, float]]:
    return [{"step": every * number, "loss": loss} for number, loss in enumerate(losses)]


def test_rows_come_back_by_step_each_once_and_can_be_cut(tmp_path):
    path = tmp_path / "validation.jsonl"
    assert read_rows(path) == []
    for step, loss in ((0, 1.0), (50, 0.9), (50, 0.8), (100, float("nan")), (100, 0.7)):
        append_row(path, {"step": step, "loss": loss, level_key(0.5): loss})
    with path.open("a") as handle:
        handle.write('{"step": 150, "lo')
    assert [(row["step"], row["loss"]) for row in read_rows(path)] == [(0, 1.0), (50, 0.8), (100, 0.7)]
    truncate_after(path, 50)
    assert [row["step"] for row in read_rows(path)] == [0, 50]


def test_levels_are_sorted_by_noise():
    row = {"step": 1, "loss": 1.0, level_key(0.9): 1.0, level_key(0.05): 1.0, level_key(0.5): 1.0}
    assert level_keys([row]) == ["sigma_0.05", "sigma_0.5", "sigma_0.9"]


@pytest.mark.parametrize(
    ("losses", "patience", "words"),
    [
        ((1.0, 0.9, 0.8, 0.7), 2, None),
        ((1.0, 0.9, 0.95), 2, None),
        ((1.0, 0.9, 0.95, 0.91), 2, "lowest at step 50 (0.9) and has not been lower in 2 measurements since, now 0.91"),
        ((1.0, 0.9, 0.95, 0.91), 3, None),
        ((1.0, 1.1, 1.2), 2, "above its value before training (1)"),
        ((), 1, None),
    ],
)
def test_advice(losses, patience, words):
    advice = overfitting_advice(rows(*losses), patience)
    assert advice is None if words is None else words in (advice or "")


def test_the_earliest_of_equals_is_best():
    best = best_row(rows(1.0, 0.5, 0.5))
    assert best is not None
    assert best["step"] == 50

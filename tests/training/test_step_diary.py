"""Updates are written in order, at once or one late, and a value that is not finite is refused when it is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from slipstream.core.errors import TrainingError
from slipstream.training.figures import Figures, StepResult
from slipstream.training.step import Update, begin_step, train_step
from slipstream.training.step_diary import StepDiary


@dataclass
class Page:
    """A reporter that keeps what it is told."""

    steps: list[int] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def step(self, step: int, **row: Any) -> None:
        self.steps.append(step)
        self.rows.append(row)

    def log(self, line: str) -> None:
        self.lines.append(line)


def late(step: int, loss: float = 0.5) -> Update:
    return Update(step, 1e-4, Figures.of({"velocity": torch.tensor(loss)}, torch.tensor(2.0), []))


def diary() -> tuple[StepDiary, Page]:
    page = Page()
    return StepDiary(page, 1.0, 0.5, lambda step: (64 + step, 32)), page  # type: ignore[arg-type]


def test_a_late_update_is_written_when_the_next_one_is_under_way():
    pages, page = diary()
    for step in range(3):
        pages.begin()
        pages.note(late(step))
        assert page.steps == list(range(1, step + 1))
    pages.settle()
    assert page.steps == [1, 2, 3]
    assert [row["epoch"] for row in page.rows] == [0.5, 1.0, 1.5]
    assert [row["size"] for row in page.rows] == [(64, 32), (65, 32), (66, 32)]
    assert all(row["loss"] == 0.5 and row["grad_norm"] == 2.0 for row in page.rows)


def test_an_update_whose_figures_are_here_is_written_at_once():
    pages, page = diary()
    pages.begin()
    pages.note(Update(0, 1e-4, late(0).figures, StepResult(3.0, 1.0, skipped=True)))
    assert page.steps == [1]
    assert "over max_loss" in page.lines[0]


def test_a_late_loss_that_is_not_finite_stops_training():
    pages, page = diary()
    pages.begin()
    pages.note(late(0, float("nan")))
    with pytest.raises(TrainingError, match="update 1"):
        pages.settle()
    assert page.steps == []


def test_reading_late_changes_nothing_but_when(bench):
    def run(reads_late: bool) -> tuple[StepResult, torch.Tensor]:
        before = [parameter.detach().clone() for parameter in bench.lora.parameters()]
        state = bench.state(torch.optim.AdamW(bench.lora.parameters(), lr=1e-3))
        settings = bench.settings(reads_late=reads_late, max_grad_norm=1.0)
        update = begin_step(state, lambda _: bench.batch([0, 1]), bench.predict, settings, 1e-3)
        assert (update.result is None) == reads_late
        moved = bench.weights()
        for parameter, value in zip(bench.lora.parameters(), before, strict=True):
            parameter.data.copy_(value)
        return update.read(), moved

    (at_once, moved), (later, also_moved) = run(False), run(True)
    assert at_once == later
    assert torch.equal(moved, also_moved)
    assert train_step(bench.state(), lambda _: bench.batch([0, 1]), bench.predict, bench.settings(), 0.0).loss > 0

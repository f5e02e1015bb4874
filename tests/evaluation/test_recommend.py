"""Which checkpoint is recommended, on figures made up for the purpose."""

from __future__ import annotations

import pytest

from slipstream.evaluation import drift
from slipstream.evaluation.recommend import (
    RED_DRIFT,
    YELLOW_DRIFT,
    drift_price,
    overfit_price,
    recommend,
    recommend_weight,
    scored,
)
from slipstream.runs.ranking import Figures


def row(
    step: int, strength: float, drift: float = 10.0, *, weight: float = 1.0, taught: float | None = None,
    leak: float = 0.0, diversity: float = 1.0, memorised: float = 0.0, rise: float | None = None,
) -> Figures:  # fmt: skip
    return Figures(
        step=step, file=f"checkpoints/a_{step:09d}.safetensors", weight=weight, strength=strength,
        taught=strength if taught is None else taught, drift=drift,
        light="red" if drift >= 55 else "yellow" if drift >= 45 else "green", leak_same=leak, leak_unrelated=0.0,
        diversity=diversity, memorised=memorised, nearest=1.0,
        held_out_rise=None if rise is None else {"loss": rise, "0.5": rise},
    )  # fmt: skip


def test_the_strongest_wins_while_drift_is_green() -> None:
    choice = recommend(scored([row(100, 0.3, 10), row(200, 0.5, 20), row(300, 0.8, 30)]))
    assert choice.figures.step == 300
    assert "still rises" in choice.reason


def test_red_drift_costs_more_than_a_little_strength_is_worth() -> None:
    choice = recommend(scored([row(100, 0.3, 10), row(200, 0.7, 35), row(300, 0.75, 60)]))
    assert choice.figures.step == 200
    assert "stronger by 5 points" in choice.reason
    assert "drift 60 (red)" in choice.reason


@pytest.mark.parametrize(
    ("worse", "word"),
    [
        (row(300, 0.72, taught=1.0), "learned by heart"),
        (row(300, 0.72, memorised=0.5), "near copies"),
        (row(300, 0.72, diversity=0.3), "diversity"),
        (row(300, 0.72, rise=0.2), "held-out loss 20.0% above"),
        (row(300, 0.72, leak=0.7), "leak 70%"),
    ],
)
def test_every_cost_can_decide_and_is_named(worse: Figures, word: str) -> None:
    choice = recommend(scored([row(100, 0.3), row(200, 0.7), worse]))
    assert choice.figures.step == 200
    assert word in choice.reason


def test_of_equals_the_earliest_is_taken() -> None:
    assert recommend(scored([row(100, 0.70), row(200, 0.705), row(300, 0.7)])).figures.step == 100


def test_strength_beyond_the_training_pictures_is_worth_no_more() -> None:
    assert recommend(scored([row(100, 1.0, 20), row(200, 1.6, 25)])).figures.step == 100


def test_dominated_ones_are_marked() -> None:
    found = scored([row(100, 0.5, 10), row(200, 0.4, 20), row(300, 0.8, 30)])
    assert [one.dominated for one in found] == [False, True, False]


def test_a_weight_is_chosen_like_a_step() -> None:
    swept = scored([row(300, 0.5, 30, weight=0.6), row(300, 0.75, 41, weight=0.8), row(300, 0.8, 60, weight=1.0)])
    choice = recommend_weight(swept)
    assert choice.figures.weight == 0.8
    assert "Full weight is stronger by 5 points" in choice.reason
    alone = recommend_weight(scored([row(300, 0.5, 10, weight=0.6), row(300, 0.8, 20, weight=1.0)]))
    assert alone.figures.weight == 1.0


def test_prices_rise_with_the_light() -> None:
    assert (YELLOW_DRIFT, RED_DRIFT) == (drift.YELLOW, drift.RED)
    prices = [drift_price(one) for one in (0, 20, 45, 50, 55, 60)]
    assert prices == sorted(prices)
    assert prices[0] == 0
    assert overfit_price(row(1, 0.5)) == 0

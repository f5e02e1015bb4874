"""Learning-rate schedules at key points, by their formulas."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from slipstream.training.schedules import learning_rate_factor

KEY_POINTS = {
    "constant": {0.0: 1.0, 0.25: 1.0, 0.5: 1.0, 0.75: 1.0, 0.99: 1.0},
    "linear": {0.0: 1.0, 0.25: 0.75, 0.5: 0.5, 0.75: 0.25, 0.99: 0.01},
    "polynomial": {0.0: 1.0, 0.25: 0.5625, 0.5: 0.25, 0.75: 0.0625, 0.99: 0.0001},
    "cosine": {0.0: 1.0, 0.25: (1 + math.sqrt(0.5)) / 2, 0.5: 0.5, 0.75: (1 - math.sqrt(0.5)) / 2},
    # four cosines: a peak at every quarter, the middle of each at half
    "cosine_restarts": {0.0: 1.0, 0.125: 0.5, 0.25: 1.0, 0.375: 0.5, 0.5: 1.0, 0.75: 1.0, 0.875: 0.5},
    "rex": {0.0: 1.0, 0.25: 0.75 / 0.875, 0.5: 0.5 / 0.75, 0.75: 0.25 / 0.625},
}
CASES = [(schedule, p, factor) for schedule, points in KEY_POINTS.items() for p, factor in points.items()]


@pytest.mark.parametrize(("schedule", "p", "factor"), CASES)
def test_shape(schedule, p, factor):
    assert learning_rate_factor(schedule, round(1000 * p), 1000, 0, 0.0) == pytest.approx(factor, abs=1e-9)


@pytest.mark.parametrize(("schedule", "p", "factor"), CASES)
def test_a_floor_lifts_the_shape_and_warm_up_shifts_it(schedule, p, factor):
    got = learning_rate_factor(schedule, 50 + round(1000 * p), 1050, 50, 0.1)
    assert got == pytest.approx(0.1 + 0.9 * factor, abs=1e-9)


@pytest.mark.parametrize("schedule", sorted(KEY_POINTS))
def test_warm_up_rises_linearly_and_never_stands_still(schedule):
    factors = [learning_rate_factor(schedule, step, 100, 4, 0.0) for step in range(5)]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


@pytest.mark.parametrize("schedule", ["linear", "polynomial", "cosine", "rex"])
def test_a_decay_only_falls_and_stays_above_the_floor(schedule):
    factors = [learning_rate_factor(schedule, step, 60, 10, 0.2) for step in range(10, 60)]
    assert all(later < earlier for earlier, later in pairwise(factors))
    assert factors[-1] > 0.2


@pytest.mark.parametrize("schedule", sorted(KEY_POINTS))
def test_warm_up_may_fill_the_run(schedule):
    assert learning_rate_factor(schedule, 9, 10, 10, 0.0) == 1.0
    assert math.isfinite(learning_rate_factor(schedule, 10, 10, 10, 0.0))


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="cosin"):
        learning_rate_factor("cosin", 5, 10, 0, 0.0)

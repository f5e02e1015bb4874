"""Learning-rate schedules at key points, by their formulas."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from slipstream.training.schedules import Schedule, learning_rate_factor

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
    assert learning_rate_factor(Schedule(schedule, 1000), round(1000 * p)) == pytest.approx(factor, abs=1e-9)


@pytest.mark.parametrize(("schedule", "p", "factor"), CASES)
def test_a_floor_lifts_the_shape_and_warm_up_shifts_it(schedule, p, factor):
    got = learning_rate_factor(Schedule(schedule, 1050, 50, 0.1), 50 + round(1000 * p))
    assert got == pytest.approx(0.1 + 0.9 * factor, abs=1e-9)


@pytest.mark.parametrize("schedule", sorted(KEY_POINTS))
def test_warm_up_rises_linearly_and_never_stands_still(schedule):
    factors = [learning_rate_factor(Schedule(schedule, 100, 4), step) for step in range(5)]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


@pytest.mark.parametrize("schedule", ["linear", "polynomial", "cosine", "rex"])
def test_a_decay_only_falls_and_stays_above_the_floor(schedule):
    factors = [learning_rate_factor(Schedule(schedule, 60, 10, 0.2), step) for step in range(10, 60)]
    assert all(later < earlier for earlier, later in pairwise(factors))
    assert factors[-1] > 0.2


@pytest.mark.parametrize("schedule", sorted(KEY_POINTS))
def test_warm_up_may_fill_the_run(schedule):
    assert learning_rate_factor(Schedule(schedule, 10, 10), 9) == 1.0
    assert math.isfinite(learning_rate_factor(Schedule(schedule, 10, 10), 10))


@pytest.mark.parametrize("restarts", [0, 1, 5])
def test_restarts_are_counted(restarts):
    factors = [learning_rate_factor(Schedule("cosine_restarts", 600, restarts=restarts), step) for step in range(600)]
    peaks = [step for step, factor in enumerate(factors) if factor == pytest.approx(1.0, abs=1e-12)]
    assert peaks == [600 // (restarts + 1) * number for number in range(restarts + 1)]
    assert learning_rate_factor(Schedule("cosine_restarts", 600, restarts=restarts), 600) == pytest.approx(0.0)
    if restarts == 0:
        assert factors == [learning_rate_factor(Schedule("cosine", 600), step) for step in range(600)]


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_the_power_shapes_polynomial_only(power):
    assert learning_rate_factor(Schedule("polynomial", 100, power=power), 40) == pytest.approx(0.6**power)
    assert learning_rate_factor(Schedule("linear", 100, power=power), 40) == pytest.approx(0.6)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="cosin"):
        learning_rate_factor(Schedule("cosin", 10), 5)

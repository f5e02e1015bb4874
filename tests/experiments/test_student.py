"""Student's t against the printed tables, and paired figures against a calculation by hand."""

from __future__ import annotations

import pytest

from slipstream.experiments.student import holm, paired, t_point, t_within


@pytest.mark.parametrize(
    ("freedom", "point"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (7, 2.365), (10, 2.228), (30, 2.042), (120, 1.980)],
)
def test_the_points_are_those_of_the_tables(freedom, point):
    assert t_point(0.95, freedom) == pytest.approx(point, abs=5e-4)
    assert t_within(point, freedom) == pytest.approx(0.95, abs=1e-4)


@pytest.mark.parametrize(("freedom", "point"), [(1, 63.657), (2, 9.925), (6, 3.707), (15, 2.947)])
def test_so_are_those_of_99_percent(freedom, point):
    assert t_point(0.99, freedom) == pytest.approx(point, abs=5e-4)


def test_a_comparison_worked_out_by_hand():
    # differences -1, -0.5, -2: mean -7/6, squared deviations 1/36 + 16/36 + 25/36 = 42/36, variance 21/36
    found = paired([1.0, 2.0, 3.0], [0.0, 1.5, 1.0])
    assert found.mean == pytest.approx(-7 / 6)
    assert found.standard_error == pytest.approx((21 / 36 / 3) ** 0.5)
    assert (found.low, found.high) == pytest.approx(
        (-7 / 6 - 4.30265 * 0.440959, -7 / 6 + 4.30265 * 0.440959), abs=1e-5
    )
    # with two degrees of freedom P(|T| < t) = t / sqrt(t^2 + 2), t = 2.64575 = sqrt(7)
    assert found.p == pytest.approx(1 - (7 / 9) ** 0.5)
    assert (found.lower, found.higher, found.pairs) == (3, 0, 3)


def test_few_pairs_have_no_interval():
    assert paired([], []).mean is None
    one = paired([1.0], [1.5])
    assert (one.mean, one.standard_error, one.low, one.p, one.higher) == (0.5, None, None, None, 1)


def test_differences_without_spread_are_certain_or_none():
    steady = paired([1.1, 2.1, 3.1], [1.2, 2.2, 3.2])  # their spread is rounding
    assert (steady.standard_error, steady.p) == (0.0, pytest.approx(0.0, abs=1e-12))
    assert steady.low == steady.high == pytest.approx(0.1)
    assert paired([1.0, 2.0], [1.0, 2.0]).p == 1.0


def test_holm_is_strict_with_many_comparisons():
    assert holm([0.04]) == (0.04,)
    assert holm([0.04, 0.01, 0.03]) == pytest.approx((0.06, 0.03, 0.06))
    assert holm([0.9, 0.8]) == (1.0, 1.0)


def test_the_correction_keeps_false_alarms_rare():
    """Two thousand experiments between equal arms: one in twenty comes out beyond chance, as promised."""
    import random

    dice = random.Random(7)
    alarms = 0
    for _ in range(2000):
        luck = [dice.gauss(0, 3) for _ in range(4)]
        arms = [[pair + dice.gauss(0, 1) for pair in luck] for _ in range(2)]
        found = paired(*arms)
        assert found.p is not None
        alarms += found.p < 0.05
    assert 70 <= alarms <= 130

"""Curves: the numbers behind the drawing, and drawings of nothing, one point and nonsense."""

import math
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from slipstream.reports.curves import MAX_POINTS, binned, curve_svg, smoothed, value_range
from slipstream.reports.scales import Axis, axis_ticks, padded, tick_label

NAN = float("nan")


def shapes(svg: str, kind: str) -> list[ElementTree.Element]:
    return [one for one in ElementTree.fromstring(svg).iter() if one.tag.endswith("}" + kind)]


def texts(svg: str) -> list[str]:
    return [one.text or "" for one in shapes(svg, "text")]


def heights(svg: str) -> list[float]:
    (line,) = shapes(svg, "polyline")
    return [float(point.split(",")[1]) for point in line.get("points", "").split()]


def test_the_average_is_the_weighted_mean_of_the_definition():
    values, decay = [4.0, 1.0, 7.0, 3.0], 0.75
    expected = []
    for end in range(1, 5):
        weights = [decay ** (end - 1 - index) for index in range(end)]
        expected.append(sum(w * v for w, v in zip(weights, values, strict=False)) / sum(weights))
    assert smoothed(values, window=4) == pytest.approx(expected)


def test_the_average_starts_at_the_first_value_and_a_window_of_one_changes_nothing():
    assert smoothed([5.0, 5.0, 5.0], 100) == pytest.approx([5.0, 5.0, 5.0])
    assert smoothed([3.0, 1.0, 2.0], 1) == [3.0, 1.0, 2.0]


def test_one_spike_does_not_choose_the_range_but_a_plain_range_holds_everything():
    values = [1.0 + 0.01 * (index % 10) for index in range(100)] + [500.0]
    assert value_range(values, robust=True) == pytest.approx((1.0, 1.09))
    assert value_range(values, robust=False) == (1.0, 500.0)
    assert value_range([2.0, 90.0, 3.0], robust=True) == (2.0, 90.0)


def test_a_spike_neither_flattens_the_curve_nor_lifts_the_line_for_long():
    calm = [1.0 + 0.1 * math.sin(index) for index in range(400)]
    spiky = [*calm[:200], 1e6, *calm[201:]]
    steps = range(1, 401)
    quiet = heights(curve_svg(steps, calm, label="loss", smooth=True, robust=True))
    loud = heights(curve_svg(steps, spiky, label="loss", smooth=True, robust=True))
    assert max(abs(a - b) for a, b in zip(quiet, loud, strict=True)) < 15
    assert "1 value beyond the frame" in texts(curve_svg(steps, spiky, label="loss", robust=True))


def test_long_runs_are_drawn_with_few_points_that_keep_the_mean():
    steps, values = list(range(1, 5001)), [float(index % 7) for index in range(5000)]
    bins = binned(steps, values, values, 240)
    assert len(bins) == 240
    assert (bins[0].first, bins[-1].last) == (1, 5000)
    assert all(after.first == before.last + 1 for before, after in pairwise(bins))
    total = sum(one.value * (one.last - one.first + 1) for one in bins)
    assert total == pytest.approx(sum(values))
    svg = curve_svg(steps, values, label="loss", smooth=True)
    assert len(shapes(svg, "rect")) == MAX_POINTS
    assert len(svg) < 80_000


def test_tooltips_name_step_and_value():
    svg = curve_svg([10, 20], [0.5, 0.25], label="learning <rate>")
    assert [one.text for one in shapes(svg, "title")] == [
        "step 10: learning <rate> 0.5",
        "step 20: learning <rate> 0.25",
    ]


def test_larger_values_stand_higher():
    low, high = heights(curve_svg([1, 2], [0.1, 0.9], label="loss"))
    assert high < low


@pytest.mark.parametrize("values", [[], [NAN, NAN], [None, float("inf")]])
def test_no_values_are_said_and_not_drawn(values):
    svg = curve_svg(range(len(values)), values, label="loss", smooth=True, robust=True)
    assert texts(svg) == ["no values yet"]


@pytest.mark.parametrize("value", [0.0, 0.7, -3.0, 1e-9, 1e12])
def test_a_single_point_is_a_dot_inside_the_frame(value):
    svg = curve_svg([5], [value], label="loss", smooth=True, robust=True)
    (dot,) = [one for one in shapes(svg, "circle") if one.get("class") == "dot"]
    assert 14 < float(dot.get("cy", "0")) < 226
    assert "nan" not in svg


def test_gaps_are_left_out():
    svg = curve_svg([1, 2, 3, 4], [1.0, NAN, None, 2.0], label="loss")
    assert len(heights(svg)) == 2
    assert "nan" not in svg


@pytest.mark.parametrize(
    ("low", "high", "about", "expected"),
    [
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 100, 5, [0, 20, 40, 60, 80, 100]),
        (0.13, 0.47, 4, [0.2, 0.3, 0.4]),
        (-0.1e-4, 1.1e-4, 5, [0, 5e-5, 1e-4]),
        (0, 3000, 7, [0, 500, 1000, 1500, 2000, 2500, 3000]),
    ],
)
def test_ticks_are_round_numbers_within_the_axis(low, high, about, expected):
    assert axis_ticks(low, high, about) == pytest.approx(expected, abs=1e-12)


def test_tick_labels_are_short_and_differ():
    assert [tick_label(value, 1.0) for value in (0, 0.2, 1.0)] == ["0", "0.2", "1"]
    assert [tick_label(value, 1e-4) for value in (0, 5e-5, 1e-4)] == ["0", "5e-5", "1e-4"]
    assert [tick_label(value, 0.004) for value in (1.001, 1.002)] == ["1.001", "1.002"]
    assert tick_label(250000, 300000) == "2.5e5"


def test_an_axis_maps_its_ends_and_cuts_what_lies_outside():
    axis = Axis(10, 20, 200, 0)
    assert [axis.place(value) for value in (10, 15, 20, 99, -99)] == [200, 100, 0, 0, 200]
    low, high = padded(3.0, 3.0, 0.1)
    assert low < 3.0 < high

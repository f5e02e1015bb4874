"""Curves of several runs over each other, coloured by arm, and paired figures as lines from arm to arm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from statistics import fmean

from slipstream.reports.curves import (
    HEIGHT,
    MAX_POINTS,
    WIDTH,
    binned,
    frame,
    grid,
    smoothed,
    smoothing_window,
    svg_text,
    value_range,
)
from slipstream.reports.scales import Axis, axis_ticks, padded, tick_label

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 14, 34
_SLOPE_WIDTH, _SLOPE_HEIGHT = 370, 220
NUM_HUES = 9


@dataclass(frozen=True)
class Line:
    """A run's curve: its name, its arm's colour number, and its points by step; `strong` is drawn thick."""

    name: str
    hue: int
    steps: Sequence[float]
    values: Sequence[float]
    strong: bool = False


def overlay_svg(lines: Sequence[Line], *, label: str, smooth: bool, zero: bool = False) -> str:
    """An SVG of the lines over steps; `smooth` draws moving averages, `zero` keeps 0 in sight and marks it."""
    drawn = [_drawable(line, smooth=smooth) for line in lines if line.steps]
    heights = [value for line in drawn for value in line.values]
    if not heights:
        return frame(label, svg_text(WIDTH / 2, HEIGHT / 2, "no values yet", "middle"))
    low, high = value_range(heights, robust=True)
    low, high = (min(low, 0.0), max(high, 0.0)) if zero else (low, high)
    first, last = min(line.steps[0] for line in drawn), max(line.steps[-1] for line in drawn)
    x = Axis(*padded(first, last, 0.0), _LEFT, WIDTH - _RIGHT)
    y = Axis(*padded(low, high, 0.06), HEIGHT - _BOTTOM, _TOP)
    parts = [grid(x, y)]
    if zero:
        at = y.place(0.0)
        parts.append(f'<line class="mark" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
    parts += [_polyline(line, x, y) for line in drawn]
    return frame(label, "".join(parts))


def _drawable(line: Line, *, smooth: bool) -> Line:
    """The line as it is drawn: smoothed, and with at most as many points as can be told apart."""
    values = smoothed(line.values, smoothing_window(len(line.values))) if smooth else list(line.values)
    bins = binned(line.steps, values, values, MAX_POINTS)
    return Line(line.name, line.hue, [one.middle for one in bins], [one.value for one in bins], line.strong)


def _polyline(line: Line, x: Axis, y: Axis) -> str:
    points = [(x.place(step), y.place(value)) for step, value in zip(line.steps, line.values, strict=True)]
    style = f"{'line' if line.strong else 'thin'} ink{line.hue % NUM_HUES}"
    joined = " ".join(f"{left:.1f},{top:.1f}" for left, top in points)
    name = escape(f"{line.name}: {line.values[-1]:.4g} at step {line.steps[-1]:g}")
    drawn = f'<polyline class="{style}" points="{joined}"><title>{name}</title></polyline>'
    if len(points) > 12:
        return drawn
    dots = "".join(
        f'<circle class="dot{line.hue % NUM_HUES}" cx="{left:.1f}" cy="{top:.1f}" r="3"><title>{name}</title></circle>'
        for left, top in points
    )
    return drawn + dots


def difference_lines(pairs: Sequence[tuple[Line, Line]]) -> list[Line]:
    """For each pair of lines `other - first` at the steps that both have, smoothed, and the mean of all, thick.

    Where a pair met the same pictures and noise at each update, what those do to the loss is gone from the difference.
    """
    found = []
    for first, other in pairs:
        before = dict(zip(first.steps, first.values, strict=True))
        both = [(step, value - before[step]) for step, value in zip(other.steps, other.values, strict=True)
                if step in before]  # fmt: skip
        if both:
            window = smoothing_window(len(both))
            found.append(Line(other.name, other.hue, [step for step, _ in both],
                              smoothed([value for _, value in both], window)))  # fmt: skip
    shared = set.intersection(*(set(line.steps) for line in found)) if len(found) > 1 else set()
    if shared:
        steps = sorted(shared)
        by_step = [dict(zip(line.steps, line.values, strict=True)) for line in found]
        means = [fmean(values[step] for values in by_step) for step in steps]
        found.append(Line("mean of the seeds", found[0].hue, steps, means, strong=True))
    return found


def slopes_svg(values: Sequence[Sequence[float | None]], arms: Sequence[str], seeds: Sequence[int], label: str) -> str:
    """A line for each seed from arm to arm, `values[arm][seed]`: whether all go the same way is seen at once."""
    known = [value for row in values for value in row if value is not None and math.isfinite(value)]
    if not known:
        return ""
    y = Axis(*padded(min(known), max(known), 0.12), _SLOPE_HEIGHT - _BOTTOM, _TOP)
    room = (_SLOPE_WIDTH - _LEFT - _RIGHT) / len(arms)
    places = [_LEFT + room * (number + 0.5) for number in range(len(arms))]
    parts = [_levels(y)]
    for column, seed in enumerate(seeds):
        points = [
            (at, y.place(value), value, arm)
            for arm, (at, row) in enumerate(zip(places, values, strict=True))
            if (value := row[column]) is not None and math.isfinite(value)
        ]
        for (left, top, *_), (right, bottom, *_) in pairwise(points):
            parts.append(f'<line class="slope" x1="{left:.1f}" y1="{top:.1f}" x2="{right:.1f}" y2="{bottom:.1f}"/>')
        for left, top, value, arm in points:
            title = escape(f"{arms[arm]}, seed {seed}: {value:.4g}")
            place = f'cx="{left:.1f}" cy="{top:.1f}" r="5"'
            parts.append(f'<circle class="dot{arm % NUM_HUES}" {place}><title>{title}</title></circle>')
    longest = max(6, int(room / 6.5))
    for at, whole in zip(places, arms, strict=True):
        name = whole if len(whole) <= longest else f"{whole[: longest - 1]}…"
        parts.append(svg_text(at, _SLOPE_HEIGHT - 12, name, "middle"))
    box = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SLOPE_WIDTH} {_SLOPE_HEIGHT}"'
    return f'<svg class="curve" {box} role="img" aria-label="{escape(label)} by arm and seed">{"".join(parts)}</svg>'


def _levels(y: Axis) -> str:
    """Lines and labels of the values."""
    parts = []
    for value in axis_ticks(y.low, y.high, 4):
        at = y.place(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_SLOPE_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(svg_text(_LEFT - 8, at + 4, tick_label(value, y.high - y.low), "end"))
    return "".join(parts)

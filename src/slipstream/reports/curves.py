"""Curves as SVG: drawn by hand, so a report needs no plotting library and follows the page's colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from statistics import fmean, quantiles

from slipstream.reports.scales import Axis, axis_ticks, padded, tick_label

WIDTH, HEIGHT = 640, 260
MAX_POINTS = 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 14, 34
_FENCE = 4.0
_FEWEST_FOR_FENCE = 12


@dataclass(frozen=True)
class Bin:
    """Neighbouring updates drawn as one point: their steps, mean value, and mean of the smoothed line."""

    first: float
    last: float
    value: float
    smooth: float

    @property
    def middle(self) -> float:
        """Where the point is drawn."""
        return (self.first + self.last) / 2


def smoothing_window(num_points: int) -> int:
    """Updates that the smoothed line averages over: a twentieth of the run, 5 to 200, in a shorter run all."""
    return max(1, min(num_points, max(5, min(200, num_points // 20))))


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """Exponential moving average, decay 1 - 1 / window, divided by its total weight: unbiased early on."""
    decay = 1 - 1 / max(1, window)
    total = weight = 0.0
    line = []
    for value in values:
        total = decay * total + (1 - decay) * value
        weight = decay * weight + (1 - decay)
        line.append(total / weight)
    return line


def value_range(values: Sequence[float], *, robust: bool) -> tuple[float, float]:
    """(low, high) to draw; `robust` leaves out values over 4 interquartile ranges from the middle half."""
    low, high = min(values), max(values)
    if not robust or len(values) < _FEWEST_FOR_FENCE:
        return low, high
    lower, _, upper = quantiles(values, n=4)
    reach = _FENCE * (upper - lower)
    if reach <= 0:
        return low, high
    inside = [value for value in values if lower - reach <= value <= upper + reach]
    return min(inside), max(inside)


def binned(steps: Sequence[float], values: Sequence[float], line: Sequence[float], limit: int) -> list[Bin]:
    """At most `limit` bins of equally many neighbouring points, each drawn at its mean."""
    count = min(limit, len(steps))
    edges = [round(index * len(steps) / count) for index in range(count + 1)] if count else []
    return [
        Bin(steps[start], steps[end - 1], fmean(values[start:end]), fmean(line[start:end]))
        for start, end in pairwise(edges)
    ]


def curve_svg(
    steps: Sequence[float],
    values: Sequence[float | None],
    *,
    label: str,
    smooth: bool = False,
    robust: bool = False,
) -> str:
    """An SVG of `values` over `steps` (equally many). Missing and non-finite values are left out.

    Args:
        steps: update numbers, ascending.
        values: one value an update.
        label: what is drawn, for tooltips and screen readers.
        smooth: draw raw points faintly and a moving average over them.
        robust: choose the range so that single spikes do not flatten the rest; they are cut at the frame.
    """
    pairs = [
        (step, value) for step, value in zip(steps, values, strict=True) if value is not None and math.isfinite(value)
    ]
    xs, ys = [step for step, _ in pairs], [value for _, value in pairs]
    if not pairs:
        return frame(label, svg_text(WIDTH / 2, HEIGHT / 2, "no values yet", "middle"))
    window = smoothing_window(len(ys)) if smooth else 1
    low, high = value_range(ys, robust=robust)
    # a spike counts as far as the frame reaches: its full height would hide the line for a whole window
    line = smoothed([min(max(value, low), high) for value in ys], window)
    bins = binned(xs, ys, line, MAX_POINTS)
    x = Axis(*(padded(xs[0], xs[-1], 0.0)), _LEFT, WIDTH - _RIGHT)
    y = Axis(*padded(low, high, 0.06), HEIGHT - _BOTTOM, _TOP)
    parts = [grid(x, y), _marks(bins, x, y, label, smooth=smooth)]
    if outside := sum(not low <= value <= high for value in ys):
        noun = "value" if outside == 1 else "values"
        parts.append(svg_text(WIDTH - _RIGHT - 4, _TOP + 12, f"{outside} {noun} beyond the frame", "end"))
    return frame(label, "".join(parts))


def grid(x: Axis, y: Axis) -> str:
    """Lines and tick labels of both axes."""
    parts = []
    for value in axis_ticks(y.low, y.high, 5):
        at = y.place(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(svg_text(_LEFT - 8, at + 4, tick_label(value, y.high - y.low), "end"))
    for value in axis_ticks(x.low, x.high, 7):
        if value == int(value):
            parts.append(svg_text(x.place(value), HEIGHT - 12, f"{int(value)}", "middle"))
    floor = HEIGHT - _BOTTOM
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{floor}" y2="{floor}"/>')
    return "".join(parts)


def _marks(bins: Sequence[Bin], x: Axis, y: Axis, label: str, *, smooth: bool) -> str:
    """The line, the raw points under it, and an invisible column per point that carries its tooltip."""
    points = " ".join(f"{x.place(one.middle):.1f},{y.place(one.smooth):.1f}" for one in bins)
    parts = []
    if smooth:
        parts += [
            f'<circle class="raw" cx="{x.place(one.middle):.1f}" cy="{y.place(one.value):.1f}" r="1.8"/>'
            for one in bins
        ]
    if len(bins) == 1:
        only = bins[0]
        parts.append(f'<circle class="dot" cx="{x.place(only.middle):.1f}" cy="{y.place(only.smooth):.1f}" r="3.5"/>')
    else:
        parts.append(f'<polyline class="line" points="{points}"/>')
    width, height = max(2.0, (WIDTH - _LEFT - _RIGHT) / len(bins)), HEIGHT - _TOP - _BOTTOM
    for one in bins:
        span = f"step {one.first:g}" if one.first == one.last else f"steps {one.first:.0f}–{one.last:.0f}"
        note = f", smoothed {one.smooth:.4g}" if smooth else ""
        title = escape(f"{span}: {label} {one.value:.4g}{note}")
        left = x.place(one.middle) - width / 2
        parts.append(
            f'<rect class="hit" x="{left:.1f}" y="{_TOP}" width="{width:.1f}" height="{height}">'
            f"<title>{title}</title></rect>"
        )
    return "".join(parts)


def svg_text(x: float, y: float, text: str, anchor: str) -> str:
    """A text in the drawing's own size; `anchor` is start, middle or end."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def frame(label: str, content: str) -> str:
    """The SVG around a drawing."""
    return (
        f'<svg class="curve" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(label)} over steps">{content}</svg>'
    )

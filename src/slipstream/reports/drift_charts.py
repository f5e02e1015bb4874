"""The drawings of the drift page: lines over noise levels, frequencies or steps, with their values as tooltips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from slipstream.reports.curves import svg_text
from slipstream.reports.scales import Axis, axis_ticks, padded, tick_label

WIDTH, HEIGHT = 560, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 16, 44
NUM_HUES = 9
"""Colours of thin lines; the first looks like the thick line's and comes last."""


@dataclass(frozen=True)
class Line:
    """A line of a drawing; `strong` is drawn thick, in the page's colour."""

    name: str
    points: tuple[tuple[float, float], ...]
    strong: bool = True


@dataclass(frozen=True)
class Chart:
    """What is drawn.

    Attributes:
        label: of all, for screen readers and tooltips.
        x_label: under the axis.
        lines: drawn in order, the last on top.
        falling: whether x falls from left to right, as noise does while a picture is drawn.
        level: a value of y to mark, such as "as the base"; None for none.
        level_name: what it is.
        y_text, x_text: a value as text.
        bounds: values of y that shall be seen in any case.
    """

    label: str
    x_label: str
    lines: tuple[Line, ...]
    falling: bool = False
    level: float | None = None
    level_name: str = ""
    y_text: Callable[[float], str] = "{:.0%}".format
    x_text: Callable[[float], str] = "{:g}".format
    bounds: tuple[float, ...] = ()


def chart_svg(chart: Chart) -> str:
    """The drawing."""
    points = [point for line in chart.lines for point in line.points]
    heights = [y for _, y in points] + list(chart.bounds) + ([] if chart.level is None else [chart.level])
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    ends = (WIDTH - _RIGHT, _LEFT) if chart.falling else (_LEFT, WIDTH - _RIGHT)
    x = Axis(*padded(low, high, 0.0), *ends)
    y = Axis(*padded(min(heights), max(heights), 0.06), HEIGHT - _BOTTOM, _TOP)
    parts = [_grid(chart, x, y), *(_line(line, number, x, y) for number, line in enumerate(chart.lines))]
    parts.append(_hits(chart, x))
    return (
        f'<svg class="curve" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(chart.label)}">{"".join(parts)}</svg>'
    )


def _grid(chart: Chart, x: Axis, y: Axis) -> str:
    floor = HEIGHT - _BOTTOM
    parts = []
    for value in axis_ticks(y.low, y.high, 4):
        at = y.place(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(svg_text(_LEFT - 8, at + 4, chart.y_text(value), "end"))
    for value in axis_ticks(x.low, x.high, 6):
        parts.append(svg_text(x.place(value), floor + 17, tick_label(value, x.high - x.low), "middle"))
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{floor}" y2="{floor}"/>')
    parts.append(svg_text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 6, chart.x_label, "middle"))
    if chart.level is not None:
        at = y.place(chart.level)
        parts.append(f'<line class="mark" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(svg_text(WIDTH - _RIGHT, at - 5, chart.level_name, "end"))
    return "".join(parts)


def _line(line: Line, number: int, x: Axis, y: Axis) -> str:
    places = [(x.place(left), y.place(top)) for left, top in line.points]
    joined = " ".join(f"{left:.1f},{top:.1f}" for left, top in places)
    style = "line" if line.strong else f"thin ink{(number + 1) % NUM_HUES}"
    parts = [f'<polyline class="{style}" points="{joined}"><title>{escape(line.name)}</title></polyline>']
    if line.strong:
        parts += [f'<circle class="dot" cx="{left:.1f}" cy="{top:.1f}" r="3.2"/>' for left, top in places]
    return "".join(parts)


def _hits(chart: Chart, x: Axis) -> str:
    """An invisible column per place that tells its values."""
    places = sorted({point[0] for line in chart.lines for point in line.points}, key=x.place)
    edges = _edges([x.place(place) for place in places])
    columns = []
    for number, place in enumerate(places):
        values = [f"{line.name} {chart.y_text(top)}" for line in chart.lines for at, top in line.points if at == place]
        title = escape(f"{chart.label} at {chart.x_text(place)}: {', '.join(values)}")
        left, right = edges[number], edges[number + 1]
        columns.append(
            f'<rect class="hit" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" '
            f'height="{HEIGHT - _TOP - _BOTTOM}"><title>{title}</title></rect>'
        )
    return "".join(columns)


def _edges(places: Sequence[float]) -> list[float]:
    """Where the columns around places meet, and the drawing's borders."""
    between = [(a + b) / 2 for a, b in pairwise(places)]
    return [_LEFT, *between, WIDTH - _RIGHT]

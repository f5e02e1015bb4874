"""Several curves in one SVG, with a legend and one marked step: the loss on held-out pictures by noise level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from slipstream.reports.curves import HEIGHT, WIDTH, frame, grid, svg_text
from slipstream.reports.scales import Axis, padded

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 14, 34
NUM_HUES = 9


def lines_svg(
    steps: Sequence[float],
    lines: Mapping[str, Sequence[float | None]],
    *,
    label: str,
    strong: str,
    marked: float | None,
) -> str:
    """An SVG of several lines over the same steps; missing and non-finite values are left out.

    Args:
        steps: where the values stand, ascending.
        lines: values by name, equally many each.
        label: what is drawn, for tooltips and screen readers.
        strong: the name of the line that is drawn thick.
        marked: a step to mark, or None.
    """
    points = {name: _finite(steps, values) for name, values in lines.items()}
    heights = [height for line in points.values() for _, height in line]
    if not heights:
        return frame(label, svg_text(WIDTH / 2, HEIGHT / 2, "no values yet", "middle"))
    x = Axis(*padded(min(steps), max(steps), 0.0), _LEFT, WIDTH - _RIGHT)
    y = Axis(*padded(min(heights), max(heights), 0.06), HEIGHT - _BOTTOM, _TOP)
    parts = [grid(x, y)]
    if marked is not None:
        at = x.place(marked)
        parts.append(f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>')
    for number, (name, line) in enumerate(points.items()):
        parts.append(_line(line, x, y, "line" if name == strong else f"thin ink{number % NUM_HUES}", name, marked))
    parts.append(_hits(steps, lines, x, label))
    return frame(label, "".join(parts))


def _finite(steps: Sequence[float], values: Sequence[float | None]) -> list[tuple[float, float]]:
    pairs = zip(steps, values, strict=True)
    return [(step, value) for step, value in pairs if value is not None and math.isfinite(value)]


def _line(points: Sequence[tuple[float, float]], x: Axis, y: Axis, style: str, name: str, marked: float | None) -> str:
    """The line, its points where there are few, and a ring around the marked one of the thick line."""
    places = [(x.place(step), y.place(value)) for step, value in points]
    joined = " ".join(f"{left:.1f},{top:.1f}" for left, top in places)
    parts = [f'<polyline class="{style}" points="{joined}"><title>{escape(name)}</title></polyline>']
    if len(places) == 1:
        parts.append(f'<circle class="dot" cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3"/>')
    if style == "line" and marked is not None:
        parts += [
            f'<circle class="dot" cx="{left:.1f}" cy="{top:.1f}" r="4.5"/>'
            for (step, _), (left, top) in zip(points, places, strict=True)
            if step == marked
        ]
    return "".join(parts)


def _hits(steps: Sequence[float], lines: Mapping[str, Sequence[float | None]], x: Axis, label: str) -> str:
    """An invisible column per step that carries its values as a tooltip."""
    width = max(2.0, (WIDTH - _LEFT - _RIGHT) / max(1, len(steps)))
    columns = []
    for place, step in enumerate(steps):
        values = [f"{name} {value:.4g}" for name, line in lines.items() if (value := line[place]) is not None]
        title = escape(f"step {step:g}: {label} {', '.join(values)}")
        columns.append(
            f'<rect class="hit" x="{x.place(step) - width / 2:.1f}" y="{_TOP}" width="{width:.1f}" '
            f'height="{HEIGHT - _TOP - _BOTTOM}"><title>{title}</title></rect>'
        )
    return "".join(columns)

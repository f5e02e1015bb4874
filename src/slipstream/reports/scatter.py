"""What is gained against what it costs, as SVG: one mark a checkpoint, joined in the order of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from slipstream.reports.scales import Axis, axis_ticks, padded, tick_label

WIDTH, HEIGHT = 420, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 18, 14, 44
_LEAST_TOP = 0.3


@dataclass(frozen=True)
class Mark:
    """One checkpoint. `light` is a drift light, `label` stands beside it where it is not empty."""

    x: float
    y: float
    label: str
    tooltip: str
    light: str
    dominated: bool
    chosen: bool


def scatter_svg(marks: Sequence[Mark], *, x_label: str, y_label: str, percent_x: bool) -> str:
    """Strength upwards, cost to the right: the upper left corner is the best place. Axes begin at 0."""
    x = Axis(*padded(0.0, max(0.0, *(mark.x for mark in marks)) or 1.0, 0.06), _LEFT, WIDTH - _RIGHT)
    lowest = min(0.0, *(mark.y for mark in marks))
    y = Axis(*padded(lowest, max(_LEAST_TOP, *(mark.y for mark in marks)), 0.09), HEIGHT - _BOTTOM, _TOP)
    path = " ".join(f"{x.place(mark.x):.1f},{y.place(mark.y):.1f}" for mark in marks)
    order = sorted(marks, key=lambda mark: (mark.chosen, not mark.dominated))
    parts = [
        _grid(x, y, percent_x=percent_x),
        f'<polyline class="trail" points="{path}"/>',
        *(_mark(mark, x, y) for mark in order),
        _text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 8, x_label, "middle", "name"),
        f'<text class="name" transform="translate(13 {(_TOP + HEIGHT - _BOTTOM) / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_label)}</text>',
    ]
    return (
        f'<svg class="scatter" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(y_label)} against {escape(x_label)}">{"".join(parts)}</svg>'
    )


def _grid(x: Axis, y: Axis, *, percent_x: bool) -> str:
    parts = []
    for value in axis_ticks(y.low, y.high, 5):
        at = y.place(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(_text(_LEFT - 6, at + 4, f"{100 * value:.0f}%", "end"))
    for value in axis_ticks(x.low, x.high, 5):
        label = f"{100 * value:.3g}%" if percent_x else tick_label(value, x.high - x.low)
        parts.append(_text(x.place(value), HEIGHT - _BOTTOM + 16, label, "middle"))
    floor = HEIGHT - _BOTTOM
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{floor}" y2="{floor}"/>')
    return "".join(parts)


def _mark(mark: Mark, x: Axis, y: Axis) -> str:
    left, top = x.place(mark.x), y.place(mark.y)
    kind = "chosen" if mark.chosen else "beaten" if mark.dominated else "front"
    ring = f'<circle class="ring" cx="{left:.1f}" cy="{top:.1f}" r="11"/>' if mark.chosen else ""
    dot = f'<circle class="{kind} {mark.light}" cx="{left:.1f}" cy="{top:.1f}" r="{6 if mark.chosen else 5}"/>'
    at_edge = left > WIDTH - 80
    beside = _text(left + (-14 if at_edge else 14), top + 4, mark.label, "end" if at_edge else "start", kind)
    return f"<g><title>{escape(mark.tooltip)}</title>{ring}{dot}{beside if mark.label else ''}</g>"


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'

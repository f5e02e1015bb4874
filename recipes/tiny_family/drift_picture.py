"""Drift scores over steps as an SVG that stands alone: bands of the traffic light, a line a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 340, 46, 12, 14, 34


@dataclass(frozen=True)
class Line:
    """One run: its steps, its scores, and a colour."""

    steps: Sequence[float]
    scores: Sequence[float]
    ink: str
    dash: str = ""


def scores_svg(lines: Sequence[Line], legend: Mapping[str, str], limits: tuple[float, float]) -> str:
    """The drawing; `limits` are the scores from which the light is yellow and red."""
    last, top = max(line.steps[-1] for line in lines), 80.0

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / last

    def y(score: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(score, top) / top

    parts = []
    bands = ((0.0, limits[0], "#16794a"), (limits[0], limits[1], "#d99a00"), (limits[1], top, "#b3261e"))
    for low, high, ink in bands:
        parts.append(
            f'<rect x="{LEFT}" y="{y(high):.1f}" width="{WIDTH - LEFT - RIGHT}" height="{y(low) - y(high):.1f}" '
            f'fill="{ink}" opacity=".10"/>'
        )
    for score in range(0, int(top) + 1, 20):
        parts.append(f'<text x="{LEFT - 8}" y="{y(score) + 4:.1f}" text-anchor="end">{score}</text>')
    for step in range(0, int(last) + 1, max(1, int(last) // 6)):
        parts.append(f'<text x="{x(step):.1f}" y="{HEIGHT - 12}" text-anchor="middle">{step}</text>')
    for line in lines:
        points = " ".join(f"{x(step):.1f},{y(score):.1f}" for step, score in zip(line.steps, line.scores, strict=True))
        dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
        parts.append(
            f'<polyline points="{x(0):.1f},{y(0):.1f} {points}" fill="none" stroke="{line.ink}" stroke-width="1.4"'
            f'{dash} opacity=".85"/>'
        )
    for number, (name, ink) in enumerate(legend.items()):
        at = LEFT + 12 + 150 * number
        parts.append(f'<line x1="{at}" x2="{at + 22}" y1="{TOP + 8}" y2="{TOP + 8}" stroke="{ink}" stroke-width="3"/>')
        parts.append(f'<text x="{at + 28}" y="{TOP + 12}">{escape(name)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" fill="#555"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )

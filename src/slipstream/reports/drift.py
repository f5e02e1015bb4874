"""What a report says about drift: the score over steps on the bands of the traffic light, and what the guard did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from slipstream.reports.curves import HEIGHT, WIDTH, frame, grid
from slipstream.reports.scales import Axis, padded
from slipstream.runs.drift import RED, YELLOW, Row, read_rows
from slipstream.runs.layout import RunDir

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 14, 34
_LEAST_TOP = 70.0
MEANINGS = {
    "green": "Turbo keeps its few steps with this LoRA",
    "yellow": "Turbo's few steps begin to wear off",
    "red": "Turbo's few steps are worn off: expect to need more steps and CFG with this LoRA",
}


@dataclass(frozen=True)
class DriftFigure:
    """The drawing, the last light with what it means, and what the guard did [(step, words)]."""

    svg: Markup
    light: str
    meaning: str
    acts: tuple[tuple[int, str], ...]


def drift_figure(run: RunDir) -> DriftFigure | None:
    """The figure of a run, None where nothing was measured."""
    rows = read_rows(run.drift)
    if not rows:
        return None
    last = rows[-1]
    acts = tuple((row["step"], row["guard"]) for row in rows if row.get("guard"))
    meaning = f"{MEANINGS[last['light']]} (score {last['score']:.0f} after step {last['step']})"
    return DriftFigure(Markup(drift_svg(rows)), last["light"], meaning, acts)


def drift_svg(rows: Sequence[Row]) -> str:
    """An SVG of the score over steps on green, yellow and red bands, with a tooltip at each measurement."""
    top = max(_LEAST_TOP, *(row["score"] + 5 for row in rows))
    x = Axis(*padded(0.0, rows[-1]["step"], 0.0), _LEFT, WIDTH - _RIGHT)
    y = Axis(0.0, top, HEIGHT - _BOTTOM, _TOP)
    parts = [_band(y, 0.0, YELLOW, "green"), _band(y, YELLOW, RED, "yellow"), _band(y, RED, top, "red"), grid(x, y)]
    places = [(x.place(row["step"]), y.place(row["score"])) for row in rows]
    start = f"{x.place(0.0):.1f},{y.place(0.0):.1f}"
    parts.append(f'<polyline class="line" points="{start} {" ".join(f"{a:.1f},{b:.1f}" for a, b in places)}"/>')
    for row, (left, height) in zip(rows, places, strict=True):
        acted = f"; {row['guard']}" if row.get("guard") else ""
        title = escape(f"step {row['step']}: drift {row['score']:.1f}, {row['light']}{acted}")
        style = "dot acted" if acted else "dot"
        parts.append(f'<circle class="{style}" cx="{left:.1f}" cy="{height:.1f}" r="4"><title>{title}</title></circle>')
    return frame("drift score", "".join(parts))


def _band(y: Axis, low: float, high: float, light: str) -> str:
    top, bottom = y.place(high), y.place(low)
    return (
        f'<rect class="band {light}" x="{_LEFT}" width="{WIDTH - _LEFT - _RIGHT}" y="{top:.1f}" '
        f'height="{bottom - top:.1f}"/>'
    )

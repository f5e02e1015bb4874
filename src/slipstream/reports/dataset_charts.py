"""Small drawings of the dataset page: aspects, caption lengths, tones, sharpness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from slipstream.reports.scales import axis_ticks

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 560, 190, 46, 20, 8
_ASPECTS = (
    (2 / 3 - 0.01, "tall", "under 2:3"), (0.95, "portrait", "2:3 to square"), (1.05, "square", ""),
    (1.51, "landscape", "square to 3:2"), (math.inf, "wide", "over 3:2"),
)  # fmt: skip
_BINS = 8


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram; `share` of the longest."""

    label: str
    note: str
    count: int
    share: float


def aspect_bars(sizes: Sequence[tuple[int, int]]) -> list[Bar]:
    """How many pictures are tall, portrait, square, landscape, wide."""
    counts = [0] * len(_ASPECTS)
    for width, height in sizes:
        counts[next(i for i, (limit, _, _) in enumerate(_ASPECTS) if width / height <= limit)] += 1
    most = max(counts)
    return [Bar(label, note, count, count / most) for (_, label, note), count in zip(_ASPECTS, counts, strict=True)]


def length_bars(lengths: Sequence[int]) -> list[Bar]:
    """A histogram of whole numbers in about eight even bins."""
    low, high = min(lengths), max(lengths)
    step = max(1, math.ceil((high - low + 1) / _BINS))
    starts = range(low, high + 1, step)
    counts = [sum(start <= length < start + step for length in lengths) for start in starts]
    most = max(counts)
    return [
        Bar(_span(start, min(high, start + step - 1)), "", count, count / most)
        for start, count in zip(starts, counts, strict=True)
    ]


def _span(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}-{last}"


def tones_svg(pictures: Sequence[tuple[str, float, float]]) -> Markup:
    """One bar a picture from its darkest to its brightest tones, sorted by their middle."""
    if not pictures:
        return Markup("")
    ordered = sorted(pictures, key=lambda one: one[1] + one[2])
    marks = [_line(share, f"{share:.0%}", "grid") for share in (0, 0.5, 1)]
    place = _slots(len(ordered))
    bars = [
        Markup('<rect class="tone" x="{}" y="{}" width="{}" height="{}"><title>{}: {} to {}</title></rect>').format(
            f"{x:.1f}", f"{_y(high):.1f}", f"{width:.1f}", f"{max(1.5, _y(low) - _y(high)):.1f}", name,
            f"{low:.0%}", f"{high:.0%}",
        )
        for (name, low, high), (x, width) in zip(ordered, place, strict=True)
    ]  # fmt: skip
    return _svg("tones", [*marks, *bars])


def sharpness_svg(pictures: Sequence[tuple[str, float]], blurred: float = 80.0) -> Markup:
    """One dot a picture on a logarithmic scale, sorted, with the line below which pictures look blurred."""
    if not pictures:
        return Markup("")
    ordered = sorted(pictures, key=lambda one: one[1])
    logs = [math.log10(max(1.0, value)) for _, value in ordered]
    high = max(3.5, math.ceil(max(logs) * 2) / 2)
    marks = [_line(tick / high, f"{10**tick:g}", "grid") for tick in axis_ticks(0, high, 4) if tick == int(tick)]
    limit = _line(math.log10(blurred) / high, "", "limit")
    dots = [
        Markup('<circle class="{}" cx="{}" cy="{}" r="{}"><title>{}: {}</title></circle>').format(
            "low" if value < blurred else "dot", f"{x + width / 2:.1f}", f"{_y(log / high):.1f}",
            f"{min(4.0, max(1.6, width / 2)):.1f}", name, f"{value:.0f}",
        )
        for (name, value), log, (x, width) in zip(ordered, logs, _slots(len(ordered)), strict=True)
    ]  # fmt: skip
    return _svg("sharpness", [*marks, limit, *dots])


def _slots(count: int) -> list[tuple[float, float]]:
    """(left, width) of evenly placed bars with a gap between them."""
    pitch = min(26.0, (_WIDTH - _LEFT - 6) / count)
    return [(_LEFT + 4 + pitch * index, pitch * 0.74) for index in range(count)]


def _y(share: float) -> float:
    return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)


def _line(share: float, label: str, kind: str) -> Markup:
    y = f"{_y(share):.1f}"
    text = Markup('<text x="{}" y="{}" text-anchor="end" dy="4">{}</text>').format(_LEFT - 8, y, label)
    return Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(kind, _LEFT, _WIDTH, y, y) + text


def _svg(label: str, parts: Sequence[Markup]) -> Markup:
    body = Markup("").join(parts)
    head = Markup('<svg class="curve" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        _WIDTH, _HEIGHT, escape(label)
    )
    return head + body + Markup("</svg>")

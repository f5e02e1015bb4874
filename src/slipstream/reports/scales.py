"""Axes of a drawing: placing values, nice ticks and their labels."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """Maps values in [low, high] (low < high) to pixels from `start` to `end`; others are put on the edge."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """The pixel of a value."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def padded(low: float, high: float, share: float) -> tuple[float, float]:
    """The range widened by `share` of its length on both sides; an empty one is widened around its value."""
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        half = abs(low) / 2 or 0.5
        return low - half, low + half
    room = share * (high - low)
    return low - room, high + room


def axis_ticks(low: float, high: float, about: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within [low, high], about `about` of them."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # twelve digits: 3 * 0.1 is meant to be 0.3
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def tick_label(value: float, span: float) -> str:
    """A short label that tells neighbours apart on an axis `span` long."""
    largest = max(abs(value), span)
    if value != 0 and (largest >= 1e5 or largest < 1e-3):
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    decimals = max(0, 2 - math.floor(math.log10(span)))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text

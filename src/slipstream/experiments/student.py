"""Paired comparison by Student's t: the differences of two arms over their seeds, and what they allow to be said.

With n pairs of differences d_i: mean = sum(d_i) / n, standard error = sqrt(sum((d_i - mean)^2) / (n - 1) / n), and the
95 % interval is mean +- t * standard error with t the 97.5 % point of Student's distribution of n - 1 degrees of
freedom. Its distribution has a closed form for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4), so
nothing but arithmetic is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

CONFIDENCE = 0.95
_ALL_ALIKE = 1e-12
"""Differences that vary by less than this share of their mean vary by rounding alone."""


def t_within(t: float, freedom: int) -> float:
    """The probability that |T| < t for Student's T of so many (>= 1) degrees of freedom; t >= 0."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2 == 1
    total = term = cosine if odd else 1.0
    for k in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    if odd:
        return 2 / math.pi * (angle + (sine * total if freedom > 1 else 0.0))
    return sine * total


def t_point(confidence: float, freedom: int) -> float:
    """The t with P(|T| < t) = confidence (below 1), by halving."""
    low, high = 0.0, 1.0
    while t_within(high, freedom) < confidence:
        high *= 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if t_within(middle, freedom) < confidence else (low, middle)
    return (low + high) / 2


@dataclass(frozen=True)
class Paired:
    """The differences of an arm from the first one over seeds, `other - first`.

    Attributes:
        differences: one for each seed that has both.
        mean: of them; None without any.
        standard_error: of the mean; None with fewer than two.
        low, high: the 95 % interval of the mean.
        p: how often chance alone gives a mean at least so far from 0; None with fewer than two.
        lower, higher: how many differences are below and above 0.
    """

    differences: tuple[float, ...]
    mean: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    p: float | None
    lower: int
    higher: int

    @property
    def pairs(self) -> int:
        """How many seeds have both."""
        return len(self.differences)


def paired(first: Sequence[float], other: Sequence[float]) -> Paired:
    """The comparison of equally many values, pair by pair."""
    differences = tuple(b - a for a, b in zip(first, other, strict=True))
    lower, higher = sum(one < 0 for one in differences), sum(one > 0 for one in differences)
    if len(differences) < 2:
        return Paired(differences, differences[0] if differences else None, None, None, None, None, lower, higher)
    mean, freedom = fmean(differences), len(differences) - 1
    spread = stdev(differences)
    if spread <= _ALL_ALIKE * max(abs(one) for one in differences):
        spread = 0.0
    error = spread / math.sqrt(len(differences))
    reach = t_point(CONFIDENCE, freedom) * error
    t = abs(mean) / error if error else math.inf if mean else 0.0
    p = 1 - t_within(t, freedom)
    return Paired(differences, mean, error, mean - reach, mean + reach, p, lower, higher)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down correction: p-values of several comparisons, so that one false alarm among all stays as rare as
    a single comparison's. With one value nothing changes."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = highest
    return tuple(corrected)

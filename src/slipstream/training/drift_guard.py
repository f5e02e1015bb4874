"""What to do about drift: pure decisions from measurements; `drift_stage` carries them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from slipstream.runs.drift import Row

GuardKind = Literal["off", "warn", "lower_learning_rate", "stop"]

_FACTOR = 0.5
_FALLING = 0.9
"""A score below this share of the one before is on its way back: the guard waits."""
_IN_A_ROW = 2
"""Measurements after which `stop` ends the training: one may be a spike."""


@dataclass(frozen=True)
class GuardSettings:
    """`lowest_rate` bounds `lower_learning_rate`: the learning rate never falls below this share of what was set;
    `limit` is the score from which the guard acts, None where the light decides."""

    kind: GuardKind
    lowest_rate: float
    limit: float | None = None

    def alarmed(self, row: Row) -> bool:
        """Whether a measurement is one to act on."""
        if self.limit is not None:
            return bool(row["score"] >= self.limit)
        return row["light"] == "red" if self.kind == "stop" else row["light"] != "green"


@dataclass(frozen=True)
class Verdict:
    """What the guard does: the factor on the learning rate from now on, whether training ends, and a line, or None
    where there is nothing to say."""

    rate_factor: float
    ends: bool = False
    line: str | None = None


def decide(settings: GuardSettings, before: Sequence[Row], now: Row, rate_factor: float) -> Verdict:
    """What to do after the measurement `now`, with those `before` it, at the factor in force.

    Args:
        settings: the guard.
        before: earlier measurements, by step.
        now: holds `score` and `light`.
        rate_factor: of the learning rate.
    """
    if settings.kind == "off":
        return Verdict(rate_factor)
    if settings.kind == "lower_learning_rate" and settings.alarmed(now):
        return _lowered(settings, before, now, rate_factor)
    recent = [*before, now][-_IN_A_ROW:]
    if settings.kind == "stop" and len(recent) == _IN_A_ROW and all(map(settings.alarmed, recent)):
        scores = ", ".join(f"{row['score']:.0f}" for row in recent)
        return Verdict(
            rate_factor, True, f"training ends here: {_IN_A_ROW} measurements in a row over the limit ({scores}); to "
            "go on set training.drift.guard to warn in the run's config.yaml and resume",
        )  # fmt: skip
    return Verdict(rate_factor, line=_warning(settings, before, now))


def _lowered(settings: GuardSettings, before: Sequence[Row], now: Row, rate_factor: float) -> Verdict:
    if before and now["score"] < _FALLING * before[-1]["score"]:
        return Verdict(rate_factor, line=f"drift falls ({before[-1]['score']:.0f} to {now['score']:.0f}): nothing done")
    if rate_factor <= settings.lowest_rate:
        return Verdict(rate_factor, line=f"the learning rate stays at its bound, {rate_factor:.3g} of what was set")
    lower = max(settings.lowest_rate, rate_factor * _FACTOR)
    return Verdict(lower, line=f"learning rate lowered to {lower:.3g} of what was set")


def _warning(settings: GuardSettings, before: Sequence[Row], now: Row) -> str | None:
    """Said where the light gets worse, or the score passes the limit."""
    order = ("green", "yellow", "red")
    worse = order.index(now["light"]) > (order.index(before[-1]["light"]) if before else 0)
    passed = settings.limit is not None and settings.alarmed(now) and not (before and settings.alarmed(before[-1]))
    if not (worse or passed):
        return None
    means = {"green": "the limit is passed", "yellow": "Turbo's few steps begin to wear off"}
    what = means.get(now["light"], "Turbo's few steps are worn off")
    return f"warning: {what}; a lower learning rate, fewer steps, or model.training_adapter v2 keep them"

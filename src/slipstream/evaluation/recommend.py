"""Which checkpoint to take, and at which weight: the concept's strength against what it costs. Plain figures, no torch.

    score = min(strength, 1) - price
    price = drift + leak + overfit, each in units of strength: what one would give of the concept to be rid of it

Drift is cheap while the light is green and dear where it is red; the leak costs a share of itself, since plain training
always leaks; overfitting costs where training captions are drawn much better than other prompts, pictures repeat
training pictures, seeds give one picture, or the held-out loss rises again. The highest score is recommended; where
others are within `CLOSE` of it, the earliest of them, which has had less time to forget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from slipstream.runs.drift import RED, YELLOW
from slipstream.runs.ranking import Figures

CLOSE = 0.01
"""Scores that differ by less are taken for equal."""
YELLOW_DRIFT, RED_DRIFT = YELLOW, RED
"""Where the light changes."""
YELLOW_PRICE, RED_PRICE, PRICE_BEYOND = 0.05, 0.15, 0.03
"""What drift costs where the light turns yellow, where it turns red, and each point beyond."""
LEAK_PRICE = 0.1
HEART_PRICE = 0.15
REPEAT_PRICE = 0.3
SAMENESS_PRICE = 0.5
FREE_DIVERSITY = 0.6
"""Of the base's own: a concept has less to vary than everything, so some loss is right."""
RISE_PRICE = 0.5
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Choice:
    """What is recommended and why, in words."""

    figures: Figures
    reason: str


def drift_price(drift: float) -> float:
    """In units of strength: rising slowly to the yellow limit, faster to the red one, and on from there."""
    if drift <= YELLOW_DRIFT:
        return YELLOW_PRICE * drift / YELLOW_DRIFT
    if drift <= RED_DRIFT:
        return YELLOW_PRICE + (RED_PRICE - YELLOW_PRICE) * (drift - YELLOW_DRIFT) / (RED_DRIFT - YELLOW_DRIFT)
    return RED_PRICE + PRICE_BEYOND * (drift - RED_DRIFT)


def overfit_price(figures: Figures) -> float:
    """In units of strength."""
    rise = 0.0 if figures.held_out_rise is None else max(0.0, figures.held_out_rise["loss"])
    sameness = max(0.0, FREE_DIVERSITY - figures.diversity)
    heart = HEART_PRICE * figures.by_heart
    return heart + REPEAT_PRICE * figures.memorised + SAMENESS_PRICE * sameness + RISE_PRICE * rise


def leak_price(figures: Figures) -> float:
    """In units of strength."""
    return LEAK_PRICE * figures.leak


def scored(rows: Sequence[Figures]) -> list[Figures]:
    """The rows with price, score and whether another row dominates them."""
    priced = [_priced(row) for row in rows]
    return [replace(row, dominated=any(_dominates(other, row) for other in priced)) for row in priced]


def _priced(row: Figures) -> Figures:
    price = drift_price(row.drift) + leak_price(row) + overfit_price(row)
    return replace(row, price=price, score=min(row.strength, 1.0) - price)


def _dominates(one: Figures, other: Figures) -> bool:
    """At least as good in strength, drift, leak and overfitting, and better in one of them."""
    gains = [
        min(one.strength, 1.0) - min(other.strength, 1.0),
        other.drift - one.drift,
        other.leak - one.leak,
        overfit_price(other) - overfit_price(one),
    ]
    return all(gain >= -_ROUNDING for gain in gains) and any(gain > _ROUNDING for gain in gains)


def recommend(rows: Sequence[Figures]) -> Choice:
    """The checkpoint to take, of rows by step."""
    best = _best(rows)
    return Choice(best, _why_step(best, rows))


def recommend_weight(rows: Sequence[Figures]) -> Choice:
    """The weight to use, of rows of one checkpoint by weight."""
    best = _best(rows)
    return Choice(best, _why_weight(best, rows))


def _best(rows: Sequence[Figures]) -> Figures:
    top = max(row.score for row in rows)
    return next(row for row in rows if row.score >= top - CLOSE)


def _why_step(best: Figures, rows: Sequence[Figures]) -> str:
    said = [f"Concept strength {best.strength:.0%}, drift {best.drift:.0f} ({best.light}), leak {best.leak:.0%}"]
    if len(rows) == 1:
        return f"{said[0]}. It is the only checkpoint."
    said[0] += ": the best balance."
    later = rows[-1]
    if later.step != best.step:
        said.append(_against(best, later, f"The last one (step {later.step})"))
    strongest = max(rows, key=lambda row: row.strength)
    if strongest.step not in (best.step, later.step):
        said.append(_against(best, strongest, f"The strongest one (step {strongest.step})"))
    if best.step == later.step and best.score > rows[-2].score + CLOSE:
        said.append("The score still rises: a longer training may give a better one.")
    return " ".join([*said, *_warnings(best)])


def _against(best: Figures, other: Figures, name: str) -> str:
    costs = [
        (drift_price(other.drift) - drift_price(best.drift), f"drift {other.drift:.0f} ({other.light})"),
        (leak_price(other) - leak_price(best), f"leak {other.leak:.0%}"),
        (overfit_price(other) - overfit_price(best), _overfit_words(other)),
    ]
    dearest = sorted((cost for cost in costs if cost[0] > CLOSE / 2), reverse=True)
    points = round(100 * (other.strength - best.strength))
    if not dearest:
        return f"{name} has {other.strength:.0%} and is no better otherwise."
    what = " and ".join(words for _, words in dearest[:2])
    if points <= 0:
        return f"{name} is no stronger ({other.strength:.0%}) and has {what}."
    return f"{name} is stronger by {points} point{'s' if points > 1 else ''} ({other.strength:.0%}), but has {what}."


def _overfit_words(row: Figures) -> str:
    """The dearest of its signs of overfitting."""
    rise = 0.0 if row.held_out_rise is None else row.held_out_rise["loss"]
    signs = [
        (HEART_PRICE * row.by_heart, f"{row.taught:.0%} in training captions: learned by heart"),
        (REPEAT_PRICE * row.memorised, f"{row.memorised:.0%} of its pictures near copies of training pictures"),
        (SAMENESS_PRICE * (FREE_DIVERSITY - row.diversity), f"{row.diversity:.0%} of the base's diversity"),
        (RISE_PRICE * rise, f"a held-out loss {rise:.1%} above its lowest"),
    ]
    return max(signs)[1]


def _warnings(best: Figures) -> list[str]:
    said = []
    if best.light == "red":
        said.append("Its drift is red all the same: expect to need more steps; train with a lower learning rate.")
    if best.strength < 0.2:
        said.append("The concept is weak in every checkpoint: train longer, or with a higher learning rate or rank.")
    if best.memorised >= 0.25:
        said.append("Many of its pictures are near copies of training pictures: use more pictures or fewer steps.")
    return said


def _why_weight(best: Figures, rows: Sequence[Figures]) -> str:
    full = rows[-1]
    if best.weight == full.weight:
        return (
            f"At full weight the concept is strongest ({full.strength:.0%}), and lower ones save less than they lose."
        )
    return f"Strength {best.strength:.0%}, drift {best.drift:.0f}. {_against(best, full, 'Full weight')}"

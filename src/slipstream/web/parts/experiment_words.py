"""An experiment's comparison in the language of the page: sentences, limits and notes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from slipstream.experiments.comparison import Comparison, Contrast, MeasureComparison
from slipstream.experiments.pairing import Note
from slipstream.experiments.sentences import agreeing, number, signed, sized, told_together
from slipstream.experiments.student import CONFIDENCE, Paired, t_point
from slipstream.web.parts.say import say

_KEYS = {"lower": "beyond", "higher": "beyond", "leans_lower": "leans", "leans_higher": "leans"}
"""Verdicts that share a sentence."""


def finding(comparison: Comparison, measured: MeasureComparison, contrast: Contrast) -> str:
    """What an arm is against the first one by one measure."""
    pairs, name = contrast.pairs, measured.measure
    side = "lower" if (pairs.mean or 0) < 0 else "higher"
    return say(
        f"experiments.said_{_KEYS.get(contrast.verdict, contrast.verdict)}",
        other=comparison.arms[contrast.arm], first=comparison.arms[0], verb=say(f"experiments.{side}_{name}"),
        things=say(f"experiments.things_{name}"), figures=sized(contrast, measured.unit), pairs=pairs.pairs,
        agreeing=agreeing(pairs), lower=pairs.lower, higher=pairs.higher,
    )  # fmt: skip


def findings(comparison: Comparison) -> list[str]:
    """All that the finished pairs say; nothing while there is none."""
    if not comparison.finished_pairs:
        return []
    return [
        finding(comparison, one, group[0]) if len(group) == 1 else _together(comparison, one, group)
        for one in comparison.measures
        for group in told_together(one)
    ]


def _together(comparison: Comparison, measured: MeasureComparison, group: Sequence[Contrast]) -> str:
    """What several arms have in common that found nothing."""
    others = ", ".join(comparison.arms[contrast.arm] for contrast in group)
    things = say(f"experiments.things_{measured.measure}")
    return say(f"experiments.each_{group[0].verdict}", things=things, first=comparison.arms[0], others=others)


def limits(comparison: Comparison) -> list[str]:
    """What so many pairs cannot say."""
    pairs = comparison.finished_pairs
    if pairs < 2:
        return [say("experiments.limit_one") if pairs else say("experiments.limit_none")]
    t = t_point(CONFIDENCE, pairs - 1)
    seen = f"{t / math.sqrt(pairs):.2g}"
    certain = any(contrast.verdict in ("lower", "higher") for one in comparison.measures for contrast in one.contrasts)
    return [
        say("experiments.limit_interval", pairs=pairs, t=f"{t:.3g}", seen=seen),
        say("experiments.limit_signs", pairs=pairs, percent=f"{200 * 0.5**pairs:.2g}"),
        *([say("experiments.limit_size")] if certain else []),
        say("experiments.limit_scope"),
    ]


def note_text(note: Note) -> str:
    """What the arms do not share, and what that means."""
    return say(f"experiments.note_{note.kind}", names=", ".join(note.settings))


def interval_text(pairs: Paired) -> str:
    """The 95 % interval of the mean difference, nothing where there is none."""
    if pairs.low is None or pairs.high is None:
        return ""
    return say("experiments.interval", low=signed(pairs.low), high=signed(pairs.high))


def figure_text(value: float | None, unit: str) -> str:
    """A figure with its unit."""
    return "–" if value is None else f"{number(value)}{f' {unit}' if unit else ''}"

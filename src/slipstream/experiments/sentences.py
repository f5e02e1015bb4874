"""A comparison in plain English, for the terminal and the report: no more than the pairs allow to be said."""

from __future__ import annotations

import math
from collections.abc import Sequence

from slipstream.experiments.comparison import Comparison, Contrast, MeasureComparison, Verdict
from slipstream.experiments.measures import MeasureName
from slipstream.experiments.pairing import Note
from slipstream.experiments.student import CONFIDENCE, Paired, t_point

_FEW, _MANY_COMPARISONS = 3, 4
_QUIET: tuple[Verdict, ...] = ("none", "same", "alike", "undecided")
"""Verdicts without a finding."""
_DECIDED: tuple[Verdict, ...] = ("lower", "higher", "leans_lower", "leans_higher", "undecided")

_VERBS: dict[MeasureName, tuple[str, str, str]] = {
    "drift": ("drifts less than", "drifts more than", "drift scores"),
    "held_out": ("has a lower held-out loss than", "has a higher held-out loss than", "held-out losses"),
    "loss": ("ends at a lower training loss than", "ends at a higher training loss than", "training losses"),
    "seconds": ("is faster per update than", "is slower per update than", "times per update"),
    "memory": ("needs less memory than", "needs more memory than", "memory peaks"),
}
"""What a lower figure means, what a higher one, and what the figures are called."""


def number(value: float) -> str:
    """A figure in three or four digits, with a true minus sign."""
    if value and abs(value) < 1e-3:
        text = f"{value:.2e}"
    else:
        digits = 4 if abs(value) >= 100 else 3
        text = f"{value:.{digits}g}" if abs(value) < 10_000 else f"{value:,.0f}"
    return text.replace("-", "−")


def signed(value: float) -> str:
    """A difference with its sign."""
    return f"+{number(value)}" if value > 0 else number(value)


def plus_minus(pairs: Paired, unit: str = "") -> str:
    """The mean difference with its standard error: `−4.1 ± 1.2`."""
    if pairs.mean is None:
        return "–"
    error = "" if pairs.standard_error is None else f" ± {number(pairs.standard_error)}"
    return f"{signed(pairs.mean)}{error}{f' {unit}' if unit else ''}"


def interval(pairs: Paired) -> str:
    """The 95 % interval of the mean difference, nothing where there is none."""
    if pairs.low is None or pairs.high is None:
        return ""
    return f"{signed(pairs.low)} to {signed(pairs.high)}"


def sized(contrast: Contrast, unit: str) -> str:
    """The mean difference with its standard error and its share of the first arm's mean: `−4.1 ± 1.2 (−35 %)`."""
    share = "" if contrast.share is None else f" ({signed(float(f'{100 * contrast.share:.2g}'))} %)"
    return f"{plus_minus(contrast.pairs, unit)}{share}"


def agreeing(pairs: Paired) -> int:
    """How many pairs point where the mean does."""
    return pairs.lower if (pairs.mean or 0) < 0 else pairs.higher


def sentence(comparison: Comparison, measured: MeasureComparison, contrast: Contrast) -> str:
    """What an arm is against the first one by one measure, in one sentence."""
    first, other, pairs = comparison.arms[0], comparison.arms[contrast.arm], contrast.pairs
    lower, higher, things = _VERBS[measured.measure]
    verb = lower if (pairs.mean or 0) < 0 else higher
    figures = sized(contrast, measured.unit)
    said = f"{other} {verb} {first} in {agreeing(pairs)} of {pairs.pairs} seeds: {figures}"
    texts: dict[Verdict, str] = {
        "none": f"The {things} of {first} and {other} cannot be compared yet: no seed has both.",
        "one": f"{other} {verb} {first} in the one seed that has both: {figures}. It says nothing about the next.",
        "same": f"The {things} of {first} and {other} are the same in every seed.",
        "alike": f"The {things} of {first} and {other} differ by less than 1 %.",
        "lower": f"{said}, more than chance explains.",
        "higher": f"{said}, more than chance explains.",
        "leans_lower": f"{said}. All agree, but so few pairs can agree by chance.",
        "leans_higher": f"{said}. All agree, but so few pairs can agree by chance.",
        "undecided": f"The {things} of {first} and {other} do not differ beyond chance: {figures}; "
        f"{pairs.lower} of {pairs.pairs} seeds lower, {pairs.higher} higher.",
        "different_scale": f"The {things} of {first} and {other} are measured differently, so they are not compared.",
    }
    return texts[contrast.verdict]


def told_together(measured: MeasureComparison) -> list[tuple[Contrast, ...]]:
    """The contrasts of a measure by what is said in one sentence: those that found nothing share it. What is measured
    differently is left out: the notes tell of it."""
    groups: dict[object, list[Contrast]] = {}
    for contrast in measured.contrasts:
        if contrast.verdict != "different_scale":
            groups.setdefault(contrast.verdict if contrast.verdict in _QUIET else contrast.arm, []).append(contrast)
    return [tuple(group) for group in groups.values()]


def findings(comparison: Comparison) -> list[str]:
    """All sentences, measure by measure."""
    return [
        sentence(comparison, one, group[0]) if len(group) == 1 else _together(comparison, one, group)
        for one in comparison.measures
        for group in told_together(one)
    ]


def _together(comparison: Comparison, measured: MeasureComparison, group: Sequence[Contrast]) -> str:
    """What several arms have in common that found nothing."""
    others = ", ".join(comparison.arms[contrast.arm] for contrast in group)
    said = {
        "none": "cannot be compared yet: no seed has both",
        "same": "are the same in every seed",
        "alike": "differ by less than 1 %",
        "undecided": "do not differ beyond chance",
    }[group[0].verdict]
    return f"The {_VERBS[measured.measure][2]} of {comparison.arms[0]} and each of {others} {said}."


def limits(comparison: Comparison) -> list[str]:
    """What cannot be concluded from so many pairs."""
    pairs = comparison.finished_pairs
    if pairs == 0:
        return ["No seed has every arm finished yet, so nothing can be said about differences."]
    if pairs == 1:
        return ["One pair shows what happened once. Whether it is more than luck takes more seeds: --seeds 3 or more."]
    t = t_point(CONFIDENCE, pairs - 1)
    detectable = t / math.sqrt(pairs)
    said = [
        f"With {pairs} pairs the 95 % interval reaches {t:.3g} standard errors to either side: a difference smaller "
        f"than {detectable:.2g} times its spread between seeds goes unseen. So \"not beyond chance\" does not mean "
        "that the arms are alike.",
        f"That all {pairs} seeds agree happens by chance in {200 * 0.5**pairs:.2g} % of such comparisons.",
    ]  # fmt: skip
    if any(contrast.verdict in ("lower", "higher") for one in comparison.measures for contrast in one.contrasts):
        said.append('"More than chance explains" says that a difference is there, not that it matters: see its size.')
    if pairs <= _FEW:
        said.append("More seeds are added by the same command with a larger --seeds; finished runs are kept.")
    made = sum(contrast.verdict in _DECIDED for one in comparison.measures for contrast in one.contrasts)
    if made >= _MANY_COMPARISONS:
        said.append(f"{made} comparisons were made; of twenty between equal arms one comes out beyond chance.")
    said.append("All of this is about this dataset, these settings and this length of training.")
    return said


def note_text(note: Note) -> str:
    """What the arms do not share, and what that means."""
    names = ", ".join(note.settings)
    texts = {
        "seeds": "The configs name different seeds. Both arms are trained with the first one's, counting up.",
        "order": f"The arms do not train on the same data ({names}): a pair shares the seed, not the pictures of an "
        "update, so the luck of the order is part of every difference, and losses are not compared.",
        "batches": f"The arms make other batches ({names}): a pair shuffles the same pictures by the same seed and "
        "cuts the order differently, so at one update the arms have seen other pictures. More seeds make up for it.",
        "length": f"The arms train for different numbers of updates ({names}): each is compared at its own end, and "
        "pictures at the steps that both have.",
        "previews": f"The arms draw other previews ({names}): their pictures differ for that reason too.",
        "loss": f"The training loss does not measure the same in all arms ({names}), so it is not compared; the "
        "held-out loss and the drift are.",
        "model": f"The arms train on different weights ({names}), against which every loss is measured, so losses are "
        "not compared: drift and pictures decide.",
    }  # fmt: skip
    return texts[note.kind]

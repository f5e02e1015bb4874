"""The comparison of an experiment's arms: every measure of every finished run, paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from slipstream.config.differences import Difference
from slipstream.experiments.arms import differing
from slipstream.experiments.experiment import Experiment
from slipstream.experiments.measures import MEASURES, Measure, MeasureName, figures_of
from slipstream.experiments.pairing import Pairing, pairing
from slipstream.experiments.standing import Standing
from slipstream.experiments.student import Paired, holm, paired

Verdict = Literal[
    "none", "one", "same", "alike", "lower", "higher", "leans_lower", "leans_higher", "undecided", "different_scale"
]
"""What a comparison allows to be said of an arm against the first one: `none`, `one`: too few pairs; `same`: no
difference at all; `alike`: one too small to matter; `lower`, `higher`: beyond chance; `leans_...`: every pair says so,
and chance may too; `undecided`: nothing; `different_scale`: the figures do not measure the same thing."""

_CHANCE = 0.05


@dataclass(frozen=True)
class Contrast:
    """An arm against the first one by one measure: the pairs, their mean difference as a share of the first arm's mean,
    their p-value corrected for the other arms, and what it says."""

    arm: int
    pairs: Paired
    share: float | None
    p_corrected: float | None
    verdict: Verdict


@dataclass(frozen=True)
class MeasureComparison:
    """One measure over all arms and seeds: `values[arm][seed]`, None where a run lacks it or is not finished."""

    measure: MeasureName
    title: str
    unit: str
    values: tuple[tuple[float | None, ...], ...]
    contrasts: tuple[Contrast, ...]

    @property
    def num_values(self) -> int:
        """How many figures there are."""
        return sum(value is not None for row in self.values for value in row)


@dataclass(frozen=True)
class Comparison:
    """Everything that is known about an experiment's arms.

    Attributes:
        arms: their labels.
        seeds: of the pairs.
        differences: the settings in which the arms are not alike.
        pairing: what that does to the pairs.
        measures: those that any run has.
        finished_pairs: how many seeds have every arm finished.
    """

    name: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    differences: tuple[Difference, ...]
    pairing: Pairing
    measures: tuple[MeasureComparison, ...]
    finished_pairs: int


def compare(experiment: Experiment, standings: Sequence[Standing]) -> Comparison:
    """The comparison as far as the experiment's runs are finished."""
    pairs = pairing(experiment)
    figures = {
        (one.planned.arm, one.planned.seed): figures_of(experiment.run_dir(one.planned))
        for one in standings
        if one.state == "finished"
    }
    measured = (_measured(measure, experiment, figures, pairs) for measure in MEASURES)
    arms = range(len(experiment.arms))
    return Comparison(
        name=experiment.name,
        arms=tuple(arm.label for arm in experiment.arms),
        seeds=experiment.seeds,
        differences=differing(experiment.arms),
        pairing=pairs,
        measures=tuple(one for one in measured if one.num_values),
        finished_pairs=sum(all((arm, seed) in figures for arm in arms) for seed in experiment.seeds),
    )


Figures = Mapping[tuple[int, int], Mapping[MeasureName, float | None]]


def _measured(measure: Measure, experiment: Experiment, figures: Figures, pairs: Pairing) -> MeasureComparison:
    values = tuple(
        tuple(figures.get((arm, seed), {}).get(measure.name) for seed in experiment.seeds)
        for arm in range(len(experiment.arms))
    )
    comparable = {
        "loss": pairs.loss_comparable, "held_out": pairs.held_out_comparable, "drift": pairs.drift_comparable,
    }.get(measure.name, True)  # fmt: skip
    found = contrasts(values, comparable=comparable, negligible=measure.negligible)
    return MeasureComparison(measure.name, measure.title, measure.unit, values, found)


def contrasts(
    values: Sequence[Sequence[float | None]], *, comparable: bool = True, negligible: float = 0.0
) -> tuple[Contrast, ...]:
    """Every arm against the first one, `values[arm][seed]`; p-values are corrected for the number of arms by Holm.

    A mean difference below the share `negligible` of the first arm's figures makes no difference.
    """
    found = [_paired(values[0], other) for other in values[1:]]
    known = [one.p for one in found if one.p is not None]
    corrected = iter(holm(known))
    usual = fmean([abs(value) for value in values[0] if value is not None] or [0.0])
    result = []
    for number, pairs in enumerate(found, start=1):
        p = None if pairs.p is None else next(corrected)
        verdict = verdict_on(pairs, p, negligible * usual) if comparable else "different_scale"
        share = pairs.mean / usual if pairs.mean is not None and usual else None
        result.append(Contrast(number, pairs, share, p, verdict))
    return tuple(result)


def _paired(first: Sequence[float | None], other: Sequence[float | None]) -> Paired:
    both = [(a, b) for a, b in zip(first, other, strict=True) if a is not None and b is not None]
    return paired([a for a, _ in both], [b for _, b in both])


def verdict_on(pairs: Paired, p: float | None, small: float = 0.0) -> Verdict:
    """What the pairs allow to be said, with their corrected p-value; a mean below `small` makes no difference."""
    if pairs.mean is None:
        return "none"
    if pairs.lower == pairs.higher == 0:
        return "same"
    if abs(pairs.mean) < small:
        return "alike"
    if p is None:
        return "one"
    if p < _CHANCE:
        return "lower" if pairs.mean < 0 else "higher"
    if pairs.lower == pairs.pairs:
        return "leans_lower"
    return "leans_higher" if pairs.higher == pairs.pairs else "undecided"

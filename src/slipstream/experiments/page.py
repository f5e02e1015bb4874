"""An experiment's report: its comparison put into words and handed to the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from markupsafe import Markup

from slipstream.experiments.comparison import Comparison, Contrast, MeasureComparison, Verdict
from slipstream.experiments.experiment import Experiment
from slipstream.experiments.measures import drift_rows
from slipstream.experiments.sentences import findings, interval, limits, note_text, number, plus_minus
from slipstream.experiments.standing import Standing
from slipstream.reports.experiment_page import ExperimentPage, FigureRow, RunShown, write_experiment_page
from slipstream.reports.overlay import Line, slopes_svg

VERDICTS: dict[Verdict, str] = {
    "none": "no pair yet",
    "one": "one pair says nothing about the next",
    "same": "no difference",
    "alike": "less than 1 %",
    "lower": "lower, beyond chance",
    "higher": "higher, beyond chance",
    "leans_lower": "lower in every seed, within chance",
    "leans_higher": "higher in every seed, within chance",
    "undecided": "not beyond chance",
    "different_scale": "measured differently, not compared",
}
"""A verdict in a few words."""


def write_report(experiment: Experiment, comparison: Comparison, standings: Sequence[Standing]) -> Path:
    """Write the experiment's `report.html` and return its path.

    Raises:
        DiskFullError: no space left; an earlier report survives.
        RunError: the file cannot be written for another reason.
    """
    return write_experiment_page(experiment.report, page_of(experiment, comparison, standings))


def page_of(experiment: Experiment, comparison: Comparison, standings: Sequence[Standing]) -> ExperimentPage:
    """What the page shows."""
    runs = tuple(_shown(experiment, one) for one in standings)
    drift = (
        Line(
            f"{comparison.arms[one.arm]}, seed {one.seed}", one.arm, [step for step, _ in rows], [at for _, at in rows]
        )
        for one in runs
        if (rows := drift_rows(one.run))
    )
    return ExperimentPage(
        name=experiment.name,
        command=experiment.command,
        arms=comparison.arms,
        seeds=comparison.seeds,
        differences=tuple((one.setting, one.values) for one in comparison.differences),
        notes=tuple(note_text(note) for note in comparison.pairing.notes),
        same_order=comparison.pairing.same_order,
        loss_comparable=comparison.pairing.loss_comparable,
        findings=tuple(findings(comparison)) if comparison.finished_pairs else (),
        limits=tuple(limits(comparison)),
        rows=tuple(_row(comparison, one) for one in comparison.measures),
        runs=runs,
        drift=tuple(drift),
    )


def _shown(experiment: Experiment, standing: Standing) -> RunShown:
    planned, progress = standing.planned, standing.progress
    message = progress.message if standing.state == "failed" else ""
    return RunShown(
        planned.arm, planned.seed, experiment.run_dir(planned), standing.state, progress.step, progress.steps, message
    )


def _row(comparison: Comparison, measured: MeasureComparison) -> FigureRow:
    slopes = slopes_svg(measured.values, comparison.arms, comparison.seeds, measured.title.lower())
    means = tuple(mean_text(row, measured.unit) for row in measured.values)
    return FigureRow(measured.title, means, tuple(_difference(one, measured.unit) for one in measured.contrasts),
                     Markup(slopes))  # fmt: skip


def mean_text(values: Sequence[float | None], unit: str) -> str:
    """The mean of the figures that are known."""
    known = [value for value in values if value is not None]
    return f"{number(fmean(known))}{f' {unit}' if unit else ''}" if known else "–"


def _difference(contrast: Contrast, unit: str) -> tuple[str, str, str, str]:
    pairs = contrast.pairs
    if contrast.verdict == "different_scale":
        return "–", "", "", VERDICTS[contrast.verdict]
    return plus_minus(pairs, unit), interval(pairs), f"{pairs.lower} / {pairs.higher}", VERDICTS[contrast.verdict]

"""What a report says about held-out pictures: the curves by noise level, the best step, and the advice."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from slipstream.reports.lines import NUM_HUES, lines_svg
from slipstream.runs.layout import RunDir
from slipstream.runs.validation import LEVEL, best_row, level_keys, overfitting_advice, read_rows

PATIENCE = 3


@dataclass(frozen=True)
class ValidationFigure:
    """The drawing with its legend [(name, colour number)], the best step in words, and advice or nothing."""

    svg: Markup
    legend: tuple[tuple[str, int], ...]
    best: str
    advice: str | None


def validation_figure(run: RunDir, patience: int | None) -> ValidationFigure | None:
    """The figure of a run, None where nothing was measured."""
    rows = read_rows(run.validation)
    best = best_row(rows)
    if best is None:
        return None
    keys = level_keys(rows)
    steps = [row["step"] for row in rows]
    lines = {f"noise {key.removeprefix(LEVEL)}": [row.get(key) for row in rows] for key in keys}
    lines["mean"] = [row["loss"] for row in rows]
    svg = lines_svg(steps, lines, label="validation loss", strong="mean", marked=best["step"])
    legend = tuple((name, number % NUM_HUES) for number, name in enumerate(lines) if name != "mean")
    return ValidationFigure(
        svg=Markup(svg),
        legend=legend,
        best=f"lowest at step {best['step']:g}: {best['loss']:.4g}",
        advice=overfitting_advice(rows, patience or PATIENCE),
    )

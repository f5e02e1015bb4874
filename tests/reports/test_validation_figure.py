"""The report's figure of held-out pictures: a line a level, the best step marked, advice where it rises."""

from __future__ import annotations

import json

from slipstream.reports.html import render_report
from slipstream.reports.validation import validation_figure
from slipstream.runs.layout import RunDir


def write_rows(run: RunDir, losses: list[float]) -> None:
    run.path.mkdir(parents=True, exist_ok=True)
    rows = [{"step": 50 * n, "loss": x, "sigma_0.1": x + 0.1, "sigma_0.9": x - 0.1} for n, x in enumerate(losses)]
    run.validation.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_run_without_measurements_has_no_figure(tmp_path):
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    assert validation_figure(run, None) is None
    assert 'id="validation"' not in render_report(run)


def test_every_level_has_a_line_and_the_best_step_is_marked(tmp_path):
    run = RunDir(tmp_path / "run")
    write_rows(run, [1.0, 0.8, 0.9, 0.95, 0.97])
    figure = validation_figure(run, 3)
    assert figure is not None
    assert figure.svg.count("<polyline") == 3
    assert figure.svg.count('class="mark"') == 1
    assert figure.legend == (("noise 0.1", 0), ("noise 0.9", 1))
    assert figure.best == "lowest at step 50: 0.8"
    assert "step 50: validation loss noise 0.1 0.9, noise 0.9 0.7, mean 0.8" in figure.svg
    assert figure.advice is not None


def test_the_page_shows_figure_and_advice_by_the_runs_patience(tmp_path):
    run = RunDir(tmp_path / "run")
    write_rows(run, [1.0, 0.8, 0.9, 0.95, 0.97])
    page = render_report(run)
    assert 'id="validation"' in page
    assert "Validation loss was lowest at step 50" in page
    run.manifest.write_text(json.dumps({"validation": {"patience": 4}}))
    assert "Validation loss was lowest" not in render_report(run)


def test_one_measurement_is_drawn_too(tmp_path):
    run = RunDir(tmp_path / "run")
    write_rows(run, [1.0])
    figure = validation_figure(run, None)
    assert figure is not None
    assert "nan" not in figure.svg
    assert figure.svg.count("<circle") >= 3

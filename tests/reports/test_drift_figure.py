"""The drift curve of a report."""

from __future__ import annotations

import json
from pathlib import Path

from slipstream.reports.drift import drift_figure
from slipstream.reports.html import render_report
from slipstream.runs.drift import light, read_rows
from slipstream.runs.layout import RunDir
from slipstream.runs.metrics import append_row


def written(folder: Path, *scores: float) -> RunDir:
    run = RunDir(folder)
    for number, score in enumerate(scores, start=1):
        guard = "learning rate lowered to 0.5 of <what> was set" if score > 35 else None
        append_row(
            run.drift, {"step": 50 * number, "score": score, "light": light(score), "changes": {}, "guard": guard}
        )
    return run


def test_the_curve_has_bands_tooltips_and_what_the_guard_did(tmp_path):
    figure = drift_figure(written(tmp_path, 12.0, 40.0, 60.0))
    assert figure is not None
    assert (figure.light, [step for step, _ in figure.acts]) == ("red", [100, 150])
    assert "score 60 after step 150" in figure.meaning
    for band in ("green", "yellow", "red"):
        assert figure.svg.count(f'class="band {band}"') == 1
    assert "step 50: drift 12.0, green" in figure.svg
    assert "&lt;what&gt;" in figure.svg
    page = render_report(RunDir(tmp_path))
    assert 'id="drift"' in page
    assert "&lt;what&gt; was set" in page
    assert "<what>" not in page


def test_a_run_without_measurements_has_no_section(tmp_path):
    assert drift_figure(RunDir(tmp_path)) is None
    assert 'id="drift"' not in render_report(RunDir(tmp_path))


def test_rows_are_read_in_order_once_each_and_torn_lines_are_forgiven(tmp_path):
    path = tmp_path / "drift.jsonl"
    rows = [{"step": 2, "score": 5.0}, {"step": 1, "score": 4.0}, {"step": 2, "score": 6.0}, {"step": 3}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 4, "sc')
    assert [(row["step"], row["score"]) for row in read_rows(path)] == [(1, 4.0), (2, 6.0)]
    assert read_rows(tmp_path / "none.jsonl") == []

"""Phases of a run can be read back while it runs, a torn last line included."""

from __future__ import annotations

from pathlib import Path

from slipstream.runs.layout import RunDir
from slipstream.runs.phases import PhaseSpan, append_phase, read_phases
from slipstream.training.reporter import Reporter


def test_phases_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "phases.jsonl"
    assert read_phases(path) == []
    spans = [PhaseSpan("load VAE", 100.0, 2.5, 0), PhaseSpan("previews", 110.0, 5.0, 40)]
    for span in spans:
        append_phase(path, span)
    with path.open("a") as handle:
        handle.write('{"phase": "sav')
    assert read_phases(path) == spans
    assert spans[0].ended == 102.5


def test_the_reporter_writes_down_when_things_happened(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    reporter = Reporter(run, steps=2, log_every=0, tensorboard=False, memory_gib=lambda: 0.0)
    with reporter.phase("load VAE"):
        pass
    reporter.start_training(0)
    reporter.step(1, loss=0.5, grad_norm=1.0, learning_rate=1e-4, seconds=0.1, epoch=0.1, size=(64, 80))
    with reporter.phase("previews"):
        pass
    reporter.end("finished")
    first, second = read_phases(run.phases)
    assert (first.phase, first.step, second.phase, second.step) == ("load VAE", 0, "previews", 1)
    row = run.metrics.read_text()
    assert '"width": 64, "height": 80' in row
    assert '"time": ' in row


def test_a_detail_goes_with_its_phase(tmp_path):
    run = RunDir(tmp_path)
    reporter = Reporter(run, steps=2, log_every=0, tensorboard=False, memory_gib=lambda: 0.0)
    with reporter.phase("previews", 8) as tick:
        tick(3, 8)
        reporter.detail("step 5/8")
        assert (reporter.progress.done, reporter.progress.detail) == (3, "step 5/8")
        with reporter.phase("save", 1):
            assert reporter.progress.detail == ""
        assert reporter.progress.detail == "step 5/8"
    assert reporter.progress.detail == ""

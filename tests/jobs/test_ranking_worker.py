"""The process that ranks for the queue keeps the contract of runs: progress, stops, failures, exit codes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import slipstream.workflows.rank as workflow
from slipstream.core.atomic import write_json
from slipstream.core.errors import RunError
from slipstream.jobs.begin import WORKERS
from slipstream.ranking_worker import JOB_FILE, work
from slipstream.runs import controls
from slipstream.runs.exit_codes import FAILED, FINISHED, STOPPED
from slipstream.runs.layout import RunDir
from slipstream.runs.progress import read_progress


@pytest.fixture
def job(tmp_path: Path) -> RunDir:
    run, job = RunDir(tmp_path / "foxy"), RunDir(tmp_path / "job")
    run.path.mkdir()
    run.config.write_text("job: {name: foxy}\n")
    job.path.mkdir()
    write_json(job.path / JOB_FILE, {"run": str(run.path)})
    return job


def test_it_ranks_the_run_and_says_how_far_it_is(job, monkeypatch, capsys):
    def rank(request, watch):
        assert request.run.name == "foxy"
        assert request.page == request.run.ranking_page
        watch.loading("load transformer", 1, 2)
        watch.drawing("step 50", 3, 4)
        progress = read_progress(job)
        assert (progress.phase, progress.detail, progress.done, progress.total) == ("rank", "step 50", 3, 4)
        return SimpleNamespace(recommended={"step": 50, "weight": 0.8})

    monkeypatch.setattr(workflow, "rank", rank)
    assert work(job) == FINISHED
    assert read_progress(job).state == "finished"
    assert "step 50 at weight 0.8" in capsys.readouterr().out
    assert WORKERS["rank"] == work.__module__


def test_it_stops_where_it_is_told_how_far_it_is(job, monkeypatch):
    def rank(request, watch):
        controls.request(job, "stop")
        watch.drawing("step 50", 1, 4)
        raise AssertionError("went on")

    monkeypatch.setattr(workflow, "rank", rank)
    assert work(job) == STOPPED
    assert read_progress(job).state == "stopped"


def test_a_failure_is_told_with_its_remedy(job, monkeypatch):
    def rank(request, watch):
        raise RunError("there is no LoRA", where="foxy", fix="train first.")

    monkeypatch.setattr(workflow, "rank", rank)
    assert work(job) == FAILED
    assert "there is no LoRA" in read_progress(job).message
    (job.path / JOB_FILE).unlink()
    assert work(job) == FAILED
    assert "job.json" in read_progress(job).message

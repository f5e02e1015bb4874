"""Experiments over the API: lists, comparisons, reports, and names that lead nowhere."""

from __future__ import annotations

import os

import pytest
from example_experiments import make_experiment
from example_runs import make_run
from fastapi.testclient import TestClient

from slipstream.experiments.experiment import write_experiment
from slipstream.web.settings import StudioSettings


def test_experiments_are_listed_and_told_in_detail(client: TestClient, settings: StudioSettings) -> None:
    assert client.get("/api/experiments").json() == []
    make_experiment(settings.runs_dir, finished=4)
    (listed,) = client.get("/api/experiments").json()
    assert listed["name"] == "foxy_none_vs_v2"
    assert listed["counts"] == {"finished": 4, "new": 2}
    found = client.get("/api/experiments/foxy_none_vs_v2").json()
    assert [one["state"] for one in found["runs"]] == ["finished"] * 4 + ["new"] * 2
    comparison = found["comparison"]
    assert comparison["finished_pairs"] == 2
    assert comparison["differences"] == [{"setting": "model.training_adapter", "values": ["none", "v2"]}]
    drift = comparison["measures"][0]
    assert drift["measure"] == "drift"
    assert drift["contrasts"][0]["verdict"] == "lower"
    assert comparison["pairing"]["notes"] == [{"kind": "model", "settings": ["model.training_adapter"]}]


def test_the_report_is_written_anew_where_a_run_went_on(client: TestClient, settings: StudioSettings) -> None:
    one = make_experiment(settings.runs_dir, seeds=1)
    first = client.get("/api/experiments/foxy_none_vs_v2/report")
    assert "2 of 2 runs finished" in first.text
    assert "sandbox" in first.headers["content-security-policy"]
    assert not one.report.exists()  # asking changes nothing in the experiment's folder
    kept = settings.home / "experiment_reports/foxy_none_vs_v2.html"
    kept.write_text("kept")
    assert client.get("/api/experiments/foxy_none_vs_v2/report").text == "kept"
    run = one.run_dir(one.runs[0])
    later = kept.stat().st_mtime + 5
    os.utime(run.progress, (later, later))
    assert "2 of 2 runs finished" in client.get("/api/experiments/foxy_none_vs_v2/report").text


def test_an_experiment_is_begun_from_a_run_and_gone_on_with(client: TestClient, settings: StudioSettings) -> None:
    make_run(settings.runs_dir, "foxy")
    wanted = {"run": "foxy", "settings": ["target.rank=8,16", "training.steps=7"], "seeds": 2}
    made = client.post("/api/experiments", json=wanted)
    assert made.status_code == 201
    assert made.json()["summary"] == {
        "name": "foxy_rank_8_vs_rank_16", "arms": ["rank 8", "rank 16"], "seeds": [42, 43], "num_runs": 4,
        "counts": {"queued": 4}, "created": made.json()["summary"]["created"],
    }  # fmt: skip
    job = made.json()["runs"][1]["job"]
    assert "rank: 16" in client.get(f"/api/jobs/{job}/config").text
    assert client.post("/api/experiments/foxy_rank_8_vs_rank_16/go_on").json() == {"added": 0}
    client.post(f"/api/jobs/{job}/stop")
    assert client.post("/api/experiments/foxy_rank_8_vs_rank_16/go_on").json() == {"added": 1}
    for wrong, says in (
        ({"settings": ["target.rank=8"]}, "nothing to compare"),
        ({"settings": ["target.rnak=8,16"]}, "unknown setting"),
        ({"settings": ["target.rank=8,16"]}, "other settings"),
        ({"settings": ["target.rank=2,4,8"], "seeds": 12}, "more than 24"),
    ):
        answer = client.post("/api/experiments", json={**wanted, **wrong})
        assert (answer.status_code, says in answer.json()["message"]) == (422, True)
    assert client.post("/api/experiments", json={**wanted, "run": "nothing"}).status_code == 404


def test_what_is_not_there_or_damaged_is_a_problem(client: TestClient, settings: StudioSettings) -> None:
    for name in ("nothing", "..", "%2e%2e", "a%2fb", ".hidden"):
        assert client.get(f"/api/experiments/{name}").status_code == 404
    one = make_experiment(settings.runs_dir, finished=0)
    one.file.write_text("{")
    answer = client.get("/api/experiments/foxy_none_vs_v2")
    assert (answer.status_code, "cannot be read" in answer.json()["message"]) == (422, True)
    assert client.get("/api/experiments").json() == []


def test_runs_are_looked_for_in_the_studios_folder_alone(
    client: TestClient, settings: StudioSettings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    one = make_experiment(settings.runs_dir, seeds=1)
    record = one.file.read_text()
    one.file.write_text(record.replace('"../../runs"', '"/etc"'))
    found = client.get("/api/experiments/foxy_none_vs_v2").json()
    assert [run["state"] for run in found["runs"]] == ["finished", "finished"]
    write_experiment(one)

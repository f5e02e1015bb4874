"""Runs over the REST API: what they do, what came of them, and asking them for something."""

from __future__ import annotations

import io
import math
import time

import pytest
from example_runs import PROMPTS, draw, make_run
from PIL import Image

from slipstream.runs.lock import worker_lock
from slipstream.web.services.metric_rows import MetricFiles, after, columns
from slipstream.web.services.thumbnails import Thumbnails


@pytest.fixture
def run(settings):
    return make_run(settings.runs_dir)


def problem(answer, status: int) -> dict:
    """The problem that an answer tells, complete and of the right type."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    value = answer.json()
    assert set(value) == {"status", "message", "where", "fix"}
    assert value["status"] == status
    assert value["message"]
    assert value["fix"]
    return value


def test_runs_are_listed_the_last_changed_first_and_nothing_else_is(client, settings):
    assert client.get("/api/runs").json() == []
    make_run(settings.runs_dir, "older")
    make_run(settings.runs_dir, "newer", state="failed", done=40)
    (settings.runs_dir / "no_run").mkdir()
    (settings.runs_dir / "link").symlink_to(settings.runs_dir / "older")
    found = client.get("/api/runs").json()
    assert [one["name"] for one in found] == ["newer", "older"]
    assert (found[0]["state"], found[0]["step"], found[0]["steps"]) == ("failed", 40, 100)
    assert "mend it" in found[0]["message"]
    assert found[1]["has_lora"]


def test_a_run_that_says_running_is_killed_unless_a_worker_holds_it(client, settings):
    run = make_run(settings.runs_dir, "live", state="running", done=30)
    assert client.get("/api/runs/live").json()["summary"]["state"] == "killed"
    with worker_lock(run):
        assert client.get("/api/runs/live").json()["summary"]["state"] == "running"


def test_detail_config_phases_and_validation(client, run):
    detail = client.get("/api/runs/foxy").json()
    assert detail["prompts"] == list(PROMPTS)
    assert detail["lora"] == "foxy.safetensors"
    assert detail["num_checkpoints"] == 2
    assert "name: foxy" in client.get("/api/runs/foxy/config").text
    phases = client.get("/api/runs/foxy/phases").json()
    assert [span["phase"] for span in phases["spans"]] == ["loading", "previews"]
    assert phases["seconds"]["training"] == pytest.approx(50.0)
    rows = client.get("/api/runs/foxy/validation").json()["rows"]
    assert [row["step"] for row in rows] == [0, 50, 100]


def test_metrics_are_thinned_to_means_and_read_on(client, run):
    everything = client.get("/api/runs/foxy/metrics").json()
    assert everything["num_rows"] == everything["last_step"] == 100
    assert len(everything["columns"]["loss"]) == 100
    few = client.get("/api/runs/foxy/metrics?points=10").json()["columns"]
    assert few["step"] == list(range(10, 101, 10))
    assert few["loss"][0] == pytest.approx(sum(everything["columns"]["loss"][:10]) / 10)
    later = client.get("/api/runs/foxy/metrics?since=97").json()["columns"]
    assert later["step"] == [98, 99, 100]
    assert client.get("/api/runs/foxy/metrics?since=100").json()["columns"] == {}


def test_a_metrics_file_is_read_on_and_a_shorter_or_new_one_anew(tmp_path):
    path, files = tmp_path / "metrics.jsonl", MetricFiles()
    assert files.rows(path) == []
    path.write_text('{"step": 1, "loss": 2}\n{"step": 2, "lo')
    first = files.rows(path)
    assert [row["step"] for row in first] == [1]
    with path.open("a") as handle:
        handle.write('ss": 3}\nnonsense\n{"step": "x"}\n{"step": 3, "loss": NaN}\n')
    assert [row["step"] for row in files.rows(path)] == [1, 2, 3]
    assert first == [{"step": 1, "loss": 2}], "a reader's rows changed under its hands"
    assert columns(files.rows(path), 1) == {"step": [3], "loss": [2.5]}
    assert math.isnan(files.rows(path)[2]["loss"])
    path.write_text('{"step": 7}\n')
    assert [row["step"] for row in files.rows(path)] == [7]
    other = tmp_path / "other"
    other.write_text('{"step": 8, "loss": 1}\n{"step": 9, "loss": 1}\n')
    other.replace(path)
    assert [row["step"] for row in files.rows(path)] == [8, 9]
    path.unlink()
    assert files.rows(path) == []


@pytest.mark.parametrize(("step", "left"), [(-1, [1, 2, 5]), (1, [2, 5]), (2.5, [5]), (5, [])])
def test_rows_after_a_step(step, left):
    assert [row["step"] for row in after([{"step": 1}, {"step": 2}, {"step": 5}], step)] == left


def test_preview_grid_pictures_and_thumbnails(client, run):
    run.preview_image(50, 1).unlink()
    grid = client.get("/api/runs/foxy/previews").json()
    assert grid["steps"] == [0, 50, 100]
    assert [prompt["has_trigger"] for prompt in grid["prompts"]] == [True, True, False]
    assert grid["missing"] == [[50, 1]]
    assert grid["num_pictures"] == 8
    draw(run, 150, 0)
    assert client.get("/api/runs/foxy/previews").json()["version"] != grid["version"]
    picture = client.get("/api/runs/foxy/previews/100/2")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content == run.preview_image(100, 2).read_bytes()
    small = client.get("/api/runs/foxy/previews/100/2/thumbnail?side=128")
    assert Image.open(io.BytesIO(small.content)).format == "WEBP"
    facts = client.get("/api/runs/foxy/previews/100/2/facts").json()
    assert facts["prompt"] == PROMPTS[2]
    problem(client.get("/api/runs/foxy/previews/50/1"), 404)
    problem(client.get("/api/runs/foxy/previews/50/1/thumbnail"), 404)


def test_a_thumbnail_is_made_once_and_anew_when_the_picture_changes(client, settings, run):
    url = "/api/runs/foxy/previews/100/0/thumbnail?side=128"
    before = client.get(url)
    kept = client.get(url, headers={"If-None-Match": before.headers["etag"]})
    assert kept.status_code == 304
    assert len(list((settings.home / "thumbnails").rglob("*.webp"))) == 1
    draw(run, 100, 0, side=96)
    assert Image.open(io.BytesIO(client.get(url).content)).size == (96, 96)


def test_old_thumbnails_are_removed_and_made_again(client, settings, run):
    url = "/api/runs/foxy/previews/100/0/thumbnail?side=128"
    client.get(url)
    thumbnails = Thumbnails(settings.home / "thumbnails")
    now = time.time()
    assert thumbnails.tidy(now, days=1) == 0
    assert thumbnails.tidy(now + 2 * 24 * 3600, days=1) == 1
    assert client.get(url).status_code == 200


def test_a_damaged_preview_is_a_problem_and_not_a_failure(client, run):
    run.preview_image(100, 0).write_bytes(b"<svg onload=alert(1)>")
    problem(client.get("/api/runs/foxy/previews/100/0/thumbnail"), 422)


def test_the_log_is_read_from_its_end_and_on(client, run):
    end = client.get("/api/runs/foxy/log?most_bytes=1024").json()
    assert end["text"].startswith("0")
    assert end["text"].endswith("00199  line of the log, ñ\n")
    assert end["next_offset"] == end["size"] == run.log.stat().st_size
    with run.log.open("ab") as handle:
        handle.write("more ñ".encode()[:-1])
    more = client.get(f"/api/runs/foxy/log?offset={end['next_offset']}").json()
    assert more["text"] == "more "
    with run.log.open("ab") as handle:
        handle.write("ñ\n".encode()[1:])
    assert client.get(f"/api/runs/foxy/log?offset={more['next_offset']}").json()["text"] == "ñ\n"
    run.log.write_text("anew\n")
    assert client.get(f"/api/runs/foxy/log?offset={more['next_offset']}").json()["text"] == "anew\n"


def test_checkpoints_are_listed_downloaded_and_deleted(client, run):
    found = client.get("/api/runs/foxy/checkpoints").json()
    assert [one["step"] for one in found] == [None, 100, 50]
    assert [one["resumable"] for one in found] == [False, True, False]
    assert [one["best"] for one in found] == [False, True, False]
    answer = client.get("/api/runs/foxy/checkpoints/foxy.safetensors")
    assert answer.content == run.lora.read_bytes()
    assert 'attachment; filename="foxy.safetensors"' in answer.headers["content-disposition"]
    assert client.delete("/api/runs/foxy/checkpoints/foxy_000000100.safetensors").status_code == 204
    assert not list(run.checkpoints.glob("*100*"))
    assert [one["step"] for one in client.get("/api/runs/foxy/checkpoints").json()] == [None, 50]


@pytest.mark.parametrize("file", ["state_000000100.pt", "config.yaml", "..%2Fconfig.yaml", "%2e%2e%2fconfig.yaml"])
def test_only_loras_of_the_list_can_be_had_or_deleted(client, run, file):
    for answer in (
        client.get(f"/api/runs/foxy/checkpoints/{file}"),
        client.delete(f"/api/runs/foxy/checkpoints/{file}"),
    ):
        assert answer.status_code in (404, 405)
    assert run.config.is_file()
    assert (run.checkpoints / "state_000000100.pt").is_file()


def test_the_newest_checkpoint_of_a_running_run_stays(client, run):
    with worker_lock(run):
        refused = client.delete("/api/runs/foxy/checkpoints/foxy_000000100.safetensors")
        assert "being trained" in problem(refused, 409)["message"]
        assert client.delete("/api/runs/foxy/checkpoints/foxy_000000050.safetensors").status_code == 204


def test_a_running_run_is_asked_and_no_other(client, run):
    problem(client.post("/api/runs/foxy/controls/stop"), 409)
    with worker_lock(run):
        for flag in ("stop", "save", "preview"):
            answer = client.post(f"/api/runs/foxy/controls/{flag}")
            assert (answer.status_code, answer.json()) == (202, {"asked": flag})
        problem(client.post("/api/runs/foxy/controls/explode"), 422)
        problem(client.get("/api/runs/foxy/controls/stop"), 405)
    assert sorted(path.name for path in run.controls.iterdir()) == ["preview", "save", "stop"]


def test_a_run_without_prompts_is_not_asked_for_previews(client, settings):
    run = make_run(settings.runs_dir, "blind", prompts=())
    with worker_lock(run):
        assert "prompts" in problem(client.post("/api/runs/blind/controls/preview"), 409)["message"]


@pytest.mark.parametrize(
    "name", ["nothing", "..", "%2e%2e", "..%2Fhome", ".hidden", "a%00b", "CON", "%2Fetc", "x" * 130]
)
def test_names_that_are_no_runs(client, settings, name):
    answer = client.get(f"/api/runs/{name}/config")
    assert answer.status_code in (404, 422)
    assert "root:" not in answer.text


def test_a_run_behind_a_link_out_of_the_folder_is_not_followed(client, settings, tmp_path):
    outside = make_run(tmp_path / "elsewhere", "secret")
    (settings.runs_dir / "secret").symlink_to(outside.path)
    problem(client.get("/api/runs/secret/config"), 404)
    run = make_run(settings.runs_dir)
    run.lora.unlink()
    run.lora.symlink_to(outside.lora)
    run.preview_image(0, 0).unlink()
    run.preview_image(0, 0).symlink_to(outside.preview_image(0, 0))
    problem(client.get("/api/runs/foxy/checkpoints/foxy.safetensors"), 404)
    problem(client.get("/api/runs/foxy/previews/0/0"), 404)


def test_broken_files_of_a_run_break_no_answer(client, settings):
    run = make_run(settings.runs_dir)
    for path in (run.progress, run.manifest, run.metrics, run.validation, run.timings, run.phases):
        path.write_bytes(b"\xff\x00{[")
    for address in ("", "/metrics", "/validation", "/phases", "/log", "/previews", "/checkpoints", "/config"):
        assert client.get(f"/api/runs/foxy{address}").status_code == 200


def test_a_ranking_is_a_job_of_the_queue(client, run, settings):
    nothing = client.get("/api/runs/foxy/ranking").json()
    assert (nothing["rows"], nothing["job"], nothing["num_checkpoints"]) == ([], None, 2)
    problem(client.get("/api/runs/foxy/ranking/page"), 404)
    started = client.post("/api/runs/foxy/ranking")
    assert started.status_code == 202
    assert started.json()["job"]["state"] == "queued"
    problem(client.post("/api/runs/foxy/ranking"), 409)
    (job,) = client.get("/api/jobs?kind=rank").json()["jobs"]
    assert job["name"] == "rank foxy"
    run.ranking_page.write_text("<!doctype html><title>ranking</title>")
    page = client.get("/api/runs/foxy/ranking/page")
    assert "sandbox" in page.headers["content-security-policy"]
    empty = make_run(settings.runs_dir, "empty", done=0)
    empty.lora.unlink()
    problem(client.post("/api/runs/empty/ranking"), 422)


def test_drift_and_findings_of_a_run(client, run):
    found = client.get("/api/runs/foxy/drift").json()
    assert [row["step"] for row in found["rows"]] == [50, 100]
    assert 0 < found["yellow"] < found["red"]
    run.config.write_text(run.config.read_text().replace("training_adapter: v2", "training_adapter: none"))
    first = client.get("/api/runs/foxy/findings?language=es").json()[0]
    assert (first["id"], first["severity"], first["label"]) == ("no_adapter", "warning", "Aviso")
    problem(client.get("/api/runs/foxy/findings?language=fr"), 422)

"""The queue over the REST API; nothing is started, because no supervisor is at work here."""

from __future__ import annotations

import pytest
import yaml
from example_runs import make_run
from test_runs_api import problem

from slipstream.runs.lock import worker_lock

CONFIG = "job: {{name: {}}}\nmodel: {{name_or_path: tiny/turbo}}\ndatasets: [{{path: foxes}}]\n"


@pytest.fixture
def add(client):
    """Put a training of a name into the queue."""
    return lambda name, **more: client.post("/api/jobs", json={"yaml": CONFIG.format(name), **more}).json()["id"]


def names(client, query: str = "") -> list[str]:
    return [job["name"] for job in client.get(f"/api/jobs{query}").json()["jobs"]]


def test_a_training_is_handed_in_and_trains_in_the_studios_folder(client, settings):
    answer = client.post("/api/jobs", json={"yaml": CONFIG.format("foxy")})
    assert answer.status_code == 201
    job = answer.json()
    assert (job["name"], job["state"], job["run"], job["queue"]) == ("foxy", "queued", "foxy", "any")
    config = yaml.safe_load(client.get(f"/api/jobs/{job['id']}/config").text)
    assert config["job"]["output_dir"] == str(settings.runs_dir)
    assert config["datasets"][0]["path"] == str(settings.datasets_dir / "foxes")
    problem(client.post("/api/jobs", json={"yaml": CONFIG.format("foxy")}), 409)
    problem(client.post("/api/jobs", json={"yaml": CONFIG.format("a/b")}), 422)
    assert (settings.home / "queue.db").is_file()


def test_jobs_are_listed_moved_and_found(client, add):
    one, two, three = add("one"), add("two"), add("three", first=True)
    assert names(client) == ["three", "one", "two"]
    client.post(f"/api/jobs/{two}/move", json={"before": three})
    assert names(client) == ["two", "three", "one"]
    client.post(f"/api/jobs/{two}/move", json={"to": "back"})
    assert names(client) == ["three", "one", "two"]
    assert names(client, "?text=t") == ["three", "two"]
    assert names(client, "?order=newest&limit=1") == ["three"]
    assert names(client, "?state=paused&state=running") == []
    problem(client.post(f"/api/jobs/{one}/move", json={"before": two, "to": "back"}), 422)
    problem(client.post(f"/api/jobs/{one}/move", json={"before": 999}), 404)


def test_a_job_is_paused_resumed_stopped_put_back_copied_and_deleted(client, add):
    job = add("foxy")
    states = []
    for action in ("pause", "resume", "stop", "requeue"):
        body = {"json": {}} if action == "requeue" else {}
        states.append(client.post(f"/api/jobs/{job}/{action}", **body).json()["state"])
    assert states == ["paused", "queued", "stopped", "queued"]
    problem(client.post(f"/api/jobs/{job}/resume"), 409)
    copy = client.post(f"/api/jobs/{job}/clone", json={}).json()
    assert (copy["name"], copy["state"], copy["parent_id"]) == ("foxy_2", "paused", job)
    assert client.delete(f"/api/jobs/{job}").status_code == 204
    problem(client.get(f"/api/jobs/{job}"), 404)
    assert names(client) == ["foxy_2"]


def test_a_waiting_job_is_edited(client, add, settings):
    job = add("foxy")
    text = CONFIG.format("fox") + "training: {steps: 77}\n"
    changed = client.patch(f"/api/jobs/{job}", json={"config_yaml": text, "max_resumes": 3}).json()
    assert (changed["name"], changed["max_resumes"]) == ("fox", 3)
    config = yaml.safe_load(client.get(f"/api/jobs/{job}/config").text)
    assert (config["training"]["steps"], config["job"]["output_dir"]) == (77, str(settings.runs_dir))
    problem(client.patch(f"/api/jobs/{job}", json={"config_yaml": "job: {name: x}\nstepps: 3"}), 422)


def test_a_run_is_gone_on_with(client, settings):
    run = make_run(settings.runs_dir, state="stopped", done=50)
    job = client.post("/api/jobs/continue", json={"run": "foxy", "steps": 400}).json()
    assert (job["state"], job["continues"], job["run"]) == ("queued", True, "foxy")
    assert yaml.safe_load(client.get(f"/api/jobs/{job['id']}/config").text)["training"]["steps"] == 400
    problem(client.post("/api/jobs/continue", json={"run": "foxy"}), 409)
    client.post(f"/api/jobs/{job['id']}/stop")
    again = client.post("/api/jobs/continue", json={"run": "foxy", "steps": 500}).json()
    assert (again["id"], again["state"]) == (job["id"], "queued")
    problem(client.post("/api/jobs/continue", json={"run": "nothing"}), 404)
    client.post(f"/api/jobs/{job['id']}/stop")
    with worker_lock(run):
        problem(client.delete(f"/api/jobs/{job['id']}?files=true"), 422)
    assert client.delete(f"/api/jobs/{job['id']}?files=true").status_code == 204
    assert not run.path.exists()


def test_queues_are_paused_and_the_version_tells_of_changes(client, add):
    before = client.get("/api/queues").json()
    assert not before["supervised"]
    assert {"any", "cpu"} <= {queue["name"] for queue in before["queues"]}
    assert client.post("/api/queues/cpu/pause").status_code == 204
    add("foxy")
    after = client.get("/api/queues").json()
    assert {queue["name"] for queue in after["queues"] if queue["paused"]} == {"cpu"}
    assert after["counts"] == {"queued": 1}
    assert after["version"] > before["version"]
    client.post("/api/queues/cpu/resume")
    assert not any(queue["paused"] for queue in client.get("/api/queues").json()["queues"])
    problem(client.post("/api/queues/gpu:x/pause"), 422)

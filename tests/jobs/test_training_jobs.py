from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from slipstream.core.errors import ConfigError, JobError, RunError
from slipstream.jobs import control, store, training_jobs
from slipstream.jobs.database import Database
from slipstream.jobs.job import Job
from slipstream.jobs.training_jobs import clone, config_from_text, edit, job_of_run, training_job
from slipstream.jobs.transitions import set_state
from slipstream.runs.create import create_run


@pytest.fixture(params=["sqlite"])
def database_url(tmp_path: Path) -> str:
    """What is tested here asks the database for nothing special."""
    return f"sqlite:///{tmp_path / 'queue.db'}"


def text(tmp_path: Path, name: str = "anna", **job: object) -> str:
    panels = {"job": {"name": name, "output_dir": str(tmp_path / "runs"), **job}, "datasets": [{"path": "pictures"}]}
    return yaml.safe_dump(panels)


def add(db: Database, tmp_path: Path, name: str = "anna", **job: object) -> Job:
    return store.add(db, training_job(config_from_text(text(tmp_path, name, **job), tmp_path)))


def test_a_config_becomes_a_job_that_means_the_same_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    new = training_job(config_from_text(text(tmp_path, output_dir="out"), tmp_path / "data"))
    config = yaml.safe_load(new.config_yaml)
    assert new.run_dir == tmp_path / "out" / "anna"
    assert config["job"]["output_dir"] == str(tmp_path / "out")
    assert config["datasets"][0]["path"] == str(tmp_path / "data" / "pictures")
    assert (new.queue, new.kind, new.max_resumes) == ("any", "train", 1)


@pytest.mark.parametrize(
    ("device", "queue", "expected", "config_device"),
    [("auto", None, "any", "auto"), ("cpu", None, "cpu", "cpu"), ("cuda:1", None, "gpu:1", "cuda"),
     ("cuda", "gpu:0", "gpu:0", "cuda"), ("auto", "cpu", "cpu", "auto"), ("cuda:1", "gpu:1", "gpu:1", "cuda")],
)  # fmt: skip
def test_the_device_chooses_the_queue(
    tmp_path: Path, device: str, queue: str | None, expected: str, config_device: str
) -> None:
    new = training_job(config_from_text(text(tmp_path, device=device)), queue=queue)
    assert new.queue == expected
    assert yaml.safe_load(new.config_yaml)["job"]["device"] == config_device, "a worker sees its own GPU only"


@pytest.mark.parametrize(("device", "queue"), [("cuda:1", "gpu:0"), ("cpu", "gpu:0"), ("cuda", "cpu"), ("auto", "x")])
def test_a_queue_that_contradicts_the_device_is_refused(tmp_path: Path, device: str, queue: str) -> None:
    with pytest.raises(ConfigError):
        training_job(config_from_text(text(tmp_path, device=device)), queue=queue)


def test_a_run_with_results_is_gone_on_with_or_left_alone(db: Database, tmp_path: Path) -> None:
    run, _ = create_run(tmp_path / "runs", "anna", text(tmp_path))
    run.checkpoints.mkdir()
    (run.checkpoints / "state_000000004.pt").touch()
    with pytest.raises(JobError, match="already a run called"):
        training_job(config_from_text(text(tmp_path)))
    job = store.add(db, job_of_run(run.path))
    assert (job.name, job.run_dir, job.continues) == ("anna", run.path, True)
    with pytest.raises(RunError, match="no run folder"):
        job_of_run(tmp_path)


@pytest.mark.parametrize("bad", ["", "- a", "job: {name: a}", "job: {name: a/b}\ndatasets: [{path: x}]"])
def test_a_wrong_config_is_refused(bad: str) -> None:
    with pytest.raises(ConfigError):
        config_from_text(bad)


def test_a_clone_takes_the_next_free_name_and_waits_to_be_edited(db: Database, tmp_path: Path) -> None:
    parent = add(db, tmp_path)
    (tmp_path / "runs" / "anna_2").mkdir(parents=True)
    first, second = clone(db, parent.id), clone(db, parent.id, paused=False)
    assert [(job.name, job.state, job.parent_id) for job in (first, second)] == [
        ("anna_3", "paused", parent.id),
        ("anna_4", "queued", parent.id),
    ]
    assert clone(db, first.id).name == "anna_5"
    assert clone(db, first.id, name="other").run_dir == tmp_path / "runs" / "other"
    with pytest.raises(JobError, match="already has this run folder"):
        clone(db, first.id, name="anna")
    store.delete_job(db, parent.id)
    assert store.get(db, first.id).parent_id is None


def test_a_waiting_job_is_edited(db: Database, tmp_path: Path) -> None:
    job = add(db, tmp_path)
    edited = edit(db, job.id, config_yaml=text(tmp_path, "berta"), queue="cpu", max_resumes=3)
    assert (edited.name, edited.run_dir, edited.queue, edited.max_resumes) == (
        "berta", tmp_path / "runs" / "berta", "cpu", 3,
    )  # fmt: skip
    assert yaml.safe_load(edited.config_yaml)["job"]["name"] == "berta"
    other = add(db, tmp_path, "other")
    with pytest.raises(JobError, match="already has this run folder"):
        edit(db, job.id, config_yaml=text(tmp_path, "other"))
    with pytest.raises(ConfigError, match="the job is for the queue"):
        edit(db, job.id, config_yaml=text(tmp_path, "berta", device="cuda"))
    assert store.get(db, job.id) == edited
    assert store.get(db, other.id) == other


def test_a_job_that_is_not_waiting_is_not_edited(db: Database, tmp_path: Path) -> None:
    job = add(db, tmp_path)
    with db.changing() as change:
        assert set_state(change, job.id, "starting")
    with pytest.raises(JobError, match="only a waiting job"):
        edit(db, job.id, max_resumes=5)


def test_a_run_that_has_begun_keeps_its_name_and_may_get_other_settings(db: Database, tmp_path: Path) -> None:
    new = training_job(config_from_text(text(tmp_path)))
    job = store.add(db, type(new)(**{**vars(new), "continues": True}))
    with pytest.raises(JobError, match="keeps its name"):
        edit(db, job.id, config_yaml=text(tmp_path, "berta"))
    longer = training_jobs.with_settings(job, ["training.steps=77"])
    assert yaml.safe_load(edit(db, job.id, config_yaml=longer).config_yaml)["training"]["steps"] == 77
    control.stop(db, job.id)
    even_longer = training_jobs.edited_yaml(job, training_jobs.with_settings(job, ["training.steps=99"])).config_yaml
    again = control.requeue(db, job.id, config_yaml=even_longer)
    assert yaml.safe_load(again.config_yaml)["training"]["steps"] == 99

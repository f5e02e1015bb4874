from __future__ import annotations

from pathlib import Path

import pytest
from job_values import AddJob

from slipstream.core.errors import JobError, RunError, UnknownJobError
from slipstream.jobs import control, store
from slipstream.jobs.database import Database
from slipstream.jobs.job import NewJob
from slipstream.jobs.transitions import set_state
from slipstream.runs.create import create_run
from slipstream.runs.lock import worker_lock


def test_a_job_comes_back_as_it_was_handed_in(db: Database, tmp_path: Path) -> None:
    new = NewJob("añil", tmp_path / "añil", "sample", "job: {}\n", {"seed": [1, None, "x"]}, "gpu:1", True, 4, True)
    job = store.get(db, store.add(db, new).id)
    for name in ("name", "run_dir", "kind", "config_yaml", "payload", "queue", "max_resumes", "continues"):
        assert getattr(job, name) == getattr(new, name), name
    assert (job.state, job.attempt, job.device, job.exit_code, job.parent_id) == ("paused", 0, None, None, None)


def test_a_run_folder_belongs_to_one_job(db: Database, add: AddJob) -> None:
    job = add("one")
    with pytest.raises(JobError, match=f"job {job.id} .queued. already has this run folder"):
        add("one")
    assert store.find_by_run(db, job.run_dir) == job
    store.delete_job(db, job.id)
    assert store.find_by_run(db, job.run_dir) is None
    assert add("one").id > job.id, "numbers are not given twice"


def test_an_unknown_number_is_told(db: Database) -> None:
    for ask in (store.get, store.delete_job, control.stop, control.pause, control.requeue):
        with pytest.raises(UnknownJobError, match="no job 7"):
            ask(db, 7)  # type: ignore[operator]


def test_lists_are_filtered_ordered_and_paged(db: Database, add: AddJob) -> None:
    jobs = [add(f"job_{n}", queue="gpu:0" if n % 2 else "any", kind="train" if n < 5 else "sample") for n in range(7)]
    control.pause(db, jobs[3].id)

    def names(**asked: object) -> list[str]:
        return [job.name for job in store.list_jobs(db, **asked).jobs]  # type: ignore[arg-type]

    assert names() == [f"job_{n}" for n in range(7)]
    assert names(order="newest", limit=2) == ["job_6", "job_5"]
    assert names(states=["paused"]) == ["job_3"]
    assert names(queue="gpu:0", states=["queued"]) == ["job_1", "job_5"]
    assert names(kind="sample") == ["job_5", "job_6"]
    assert names(text="B_2") == ["job_2"]
    assert names(text="%") == []
    page = store.list_jobs(db, offset=5, limit=1)
    assert ([job.name for job in page.jobs], page.total) == (["job_5"], 7)
    assert store.count_by_state(db) == {"queued": 6, "paused": 1}


def test_the_version_counts_changes_and_nothing_else(db: Database, add: AddJob) -> None:
    assert store.version(db) == 0
    job = add("a")
    assert (job.version, store.version(db)) == (1, 1)
    paused = control.pause(db, job.id)
    assert (paused.version, store.version(db)) == (2, 2)
    with pytest.raises(JobError, match="is paused"):
        control.pause(db, job.id)
    with db.changing() as change:
        assert not set_state(change, job.id, "running", before=["starting"])
    assert store.version(db) == 2
    store.delete_job(db, job.id)
    assert store.version(db) == 3


def test_deleting_keeps_the_run_unless_asked(db: Database, add: AddJob, tmp_path: Path) -> None:
    kept, gone, foreign = add("kept"), add("gone"), add("foreign")
    for job in (kept, gone):
        create_run(job.run_dir.parent, job.name, "x")
    foreign.run_dir.mkdir()
    (foreign.run_dir / "photo.png").touch()
    store.delete_job(db, kept.id)
    store.delete_job(db, gone.id, files=True)
    store.delete_job(db, foreign.id, files=True)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["foreign", "kept"]


def test_a_run_that_is_trained_is_not_deleted(db: Database, add: AddJob) -> None:
    job = add("busy")
    run, _ = create_run(job.run_dir.parent, job.name, "x")
    with worker_lock(run), pytest.raises(RunError, match="is being trained"):
        store.delete_job(db, job.id, files=True)
    with db.changing() as change:
        assert set_state(change, job.id, "starting")
    with pytest.raises(JobError, match="is starting"):
        store.delete_job(db, job.id)
    assert store.get(db, job.id).state == "starting"
    assert run.config.exists()

from __future__ import annotations

import time
from pathlib import Path

import pytest
from job_values import AddJob

from slipstream.core.errors import JobError
from slipstream.jobs import control, store
from slipstream.jobs.database import Database
from slipstream.jobs.job import Job, State
from slipstream.jobs.transitions import set_state
from slipstream.runs.create import create_run


def put(db: Database, job: Job, *path: State) -> None:
    for state in path:
        with db.changing() as change:
            assert set_state(change, job.id, state)


def order(db: Database) -> list[str]:
    return [job.name for job in store.list_jobs(db).jobs]


def test_a_job_moves_before_after_and_to_either_end(db: Database, add: AddJob) -> None:
    jobs = {name: add(name).id for name in "abcde"}
    control.move(db, jobs["d"], before=jobs["b"])
    assert order(db) == list("adbce")
    control.move(db, jobs["a"], after=jobs["c"])
    assert order(db) == list("dbcae")
    control.move(db, jobs["e"], to="front")
    assert order(db) == list("edbca")
    control.move(db, jobs["e"], to="back")
    assert order(db) == list("dbcae")
    control.move(db, jobs["b"], before=jobs["b"])
    assert order(db) == list("dbcae")
    for _ in range(40):
        control.move(db, jobs["a"], before=jobs["b"])
        control.move(db, jobs["c"], before=jobs["a"])
    assert order(db) == list("dcabe")
    assert len({job.position for job in store.list_jobs(db).jobs}) == 5


def test_only_a_waiting_job_moves(db: Database, add: AddJob) -> None:
    one, two = add("one"), add("two")
    put(db, one, "starting")
    before = store.list_jobs(db)
    with pytest.raises(JobError, match="is starting"):
        control.move(db, one.id, after=two.id)
    assert store.list_jobs(db) == before


def test_pause_and_resume(db: Database, add: AddJob) -> None:
    job = add("a")
    assert control.pause(db, job.id).state == "paused"
    assert control.resume(db, job.id).state == "queued"
    with pytest.raises(JobError, match="is queued"):
        control.resume(db, job.id)
    put(db, job, "starting", "running")
    with pytest.raises(JobError, match="only a queued job"):
        control.pause(db, job.id)


def test_a_waiting_job_stops_at_once(db: Database, add: AddJob) -> None:
    job = control.stop(db, add("a").id)
    assert (job.state, job.exit_code) == ("stopped", None)
    assert job.ended is not None
    with pytest.raises(JobError, match="is stopped already"):
        control.stop(db, job.id)
    again = control.requeue(db, job.id)
    assert (again.state, again.ended, again.message) == ("queued", None, "")


def test_a_running_job_is_asked_to_stop_and_then_killed(db: Database, add: AddJob) -> None:
    job = add("a")
    run, _ = create_run(job.run_dir.parent, job.name, "x")
    put(db, job, "starting", "running")
    asked = control.stop(db, job.id, patience_seconds=50)
    assert asked.state == "stopping"
    assert asked.kill_at is not None
    assert 40 < asked.kill_at - time.time() <= 50
    assert (run.controls / "stop").exists()
    assert control.stop(db, job.id).kill_at == asked.kill_at, "asking again gives no more time"
    killed = control.kill(db, job.id)
    assert killed.kill_at is not None
    assert killed.kill_at <= time.time()


def test_a_job_can_be_stopped_before_its_folder_is_there(db: Database, add: AddJob, tmp_path: Path) -> None:
    job = add("a")
    put(db, job, "starting")
    assert control.stop(db, job.id).state == "stopping"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("front", "expected"), [(False, ["b", "c", "a"]), (True, ["a", "b", "c"])])
def test_what_has_ended_is_put_back(db: Database, add: AddJob, front: bool, expected: list[str]) -> None:
    job, other, _ = add("a", max_resumes=2), add("b"), add("c")
    put(db, job, "starting", "running", "failed")
    again = control.requeue(db, job.id, front=front, paused=front)
    assert (again.state, again.resumes, again.device) == ("paused" if front else "queued", 0, None)
    assert order(db) == expected
    with pytest.raises(JobError, match="only a job that has ended"):
        control.requeue(db, other.id)


def test_queues_pause_and_go_on(db: Database) -> None:
    control.pause_queue(db, "gpu:0")
    control.pause_queue(db, "cpu")
    control.pause_queue(db, "cpu")
    assert store.paused_queues(db) == {"gpu:0", "cpu"}
    before = store.version(db)
    control.resume_queue(db, "cpu")
    assert (store.paused_queues(db), store.version(db)) == ({"gpu:0"}, before + 1)

"""Claims, beginnings, stops and take-overs, one at a time; `test_job_faults` throws them together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from job_values import AddJob
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError, OperationalError

from slipstream import worker as real_worker
from slipstream.jobs import control, leases, store
from slipstream.jobs.begin import begin, environment_of
from slipstream.jobs.database import Database
from slipstream.jobs.job import Job, State
from slipstream.jobs.models import JobRow
from slipstream.jobs.supervisor import Rhythm, Supervisor, look_once, supervise
from slipstream.jobs.transitions import write
from slipstream.launch.processes import kill_attempt
from slipstream.runs.attempts import ATTEMPT_VARIABLE, order_attempt, ordered_attempt, read_worker, revoke_attempt
from slipstream.runs.create import create_run
from slipstream.runs.exit_codes import SUPERSEDED
from slipstream.runs.lock import is_running, worker_lock
from slipstream.runs.progress import Progress, read_progress, write_progress

RHYTHM = Rhythm(lease=0.4, heartbeat=0.1, look=0.02)
WORKERS = {"fake": "fake_worker"}
HERE = Path(__file__).parent


@pytest.fixture(params=["sqlite"])
def database_url(tmp_path: Path) -> str:
    """What differs between databases is tried by the tests of leases below and by the faults."""
    return f"sqlite:///{tmp_path / 'queue.db'}"


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, object]]:
    """The payload of a fake job, and workers find their module."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))

    def payload(name: str, **more: object) -> dict[str, object]:
        return {"name": name, "witness": str(tmp_path / "witness.txt"), "steps": 5, "seconds": 0.01, **more}

    return payload


@pytest.fixture
def made(db: Database) -> Iterator[Callable[..., Supervisor]]:
    """Supervisors in this process; their workers are killed in the end."""
    all_of_them: list[Supervisor] = []

    def make(*devices: str) -> Supervisor:
        all_of_them.append(Supervisor(db, devices or ("cpu",), RHYTHM, WORKERS))
        return all_of_them[-1]

    yield make
    for supervisor in all_of_them:
        for child in supervisor.children.values():
            child.kill()
            child.wait(5)


def until(supervisors: list[Supervisor], db: Database, job: Job, *states: State, seconds: float = 15.0) -> Job:
    """Let them look until the job is in one of the states."""
    deadline = time.monotonic() + seconds
    while (now := store.get(db, job.id)).state not in states:
        assert time.monotonic() < deadline, now
        for supervisor in supervisors:
            look_once(supervisor)
        time.sleep(0.02)
    return now


def claim(db: Database, device: str, owner: str = "me", *, takes_any: bool = True, lease: float = 60.0) -> Job | None:
    return leases.claim(db, device, takes_any=takes_any, owner=owner, lease_seconds=lease)


class TestLeases:
    @pytest.fixture(params=["sqlite", "postgresql"])
    def database_url(self, request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> str:
        """Both."""
        return new_database(request.param)

    def test_a_device_gets_the_first_job_that_it_may_have(self, db: Database, add: AddJob) -> None:
        for name, queue in (("a", "gpu:1"), ("b", "any"), ("c", "gpu:0"), ("d", "cpu"), ("e", "any")):
            add(name, queue=queue)
        first = claim(db, "gpu:0")
        assert first is not None
        assert (first.name, first.state, first.device, first.attempt, first.owner) == (
            "b",
            "starting",
            "gpu:0",
            1,
            "me",
        )
        assert claim(db, "gpu:0") is None, "it has a job"
        assert [job.name for job in (claim(db, "gpu:1"), claim(db, "cpu", takes_any=False)) if job] == ["a", "d"]
        assert leases.settle(db, first, "me", "failed")
        second = claim(db, "gpu:0")
        assert second is not None
        assert second.name == "c"

    def test_the_database_itself_lets_a_device_have_one_job(self, db: Database, add: AddJob) -> None:
        add("a")
        second = add("b")
        assert claim(db, "gpu:0")
        with pytest.raises(IntegrityError), db.changing() as change:
            write(change, update(JobRow).where(JobRow.id == second.id).values(state="running", device="gpu:0"))
        assert store.get(db, second.id) == second

    def test_paused_queues_start_nothing(self, db: Database, add: AddJob) -> None:
        add("a", queue="gpu:0")
        add("b")
        control.pause_queue(db, "any")
        job = claim(db, "gpu:1")
        assert job is None
        control.pause_queue(db, "gpu:0")
        assert claim(db, "gpu:0") is None
        control.resume_queue(db, "any")
        assert claim(db, "gpu:0") is None, "the device's own queue is paused"
        job = claim(db, "gpu:1")
        assert job is not None
        assert job.name == "b"

    def test_a_lease_is_kept_and_taken_only_when_it_has_run_out(self, db: Database, add: AddJob) -> None:
        add("a")
        job = claim(db, "cpu", lease=0.2)
        assert job is not None
        before = store.version(db)
        assert not leases.take_over(db, job, "you", 60)
        assert leases.renew(db, job, "me", 0.1)
        time.sleep(0.15)
        assert leases.take_over(db, job, "you", 60)
        assert not leases.renew(db, job, "me", 60)
        assert not leases.take_over(db, job, "me", 60)
        assert store.version(db) == before, "heartbeats are no news"
        leases.release_all(db, "you")
        assert leases.take_over(db, store.get(db, job.id), "me", 60), "given back before its time"

    def test_who_was_taken_over_cannot_write(self, db: Database, add: AddJob) -> None:
        add("a")
        job = claim(db, "cpu", lease=-1)
        assert job is not None
        assert leases.take_over(db, job, "you", 60)
        assert not leases.settle(db, job, "me", "failed")
        assert not leases.adopt_attempt(db, job, "me", 1)
        assert not leases.still_owned(db, job, "me")
        leases.note(db, job, "me", "nonsense")
        now = store.get(db, job.id)
        assert (now.state, now.owner, now.message) == ("starting", "you", "")
        assert leases.settle(db, now, "you", "running")
        assert not leases.settle(db, now, "you", "failed"), "it is not starting any more"


def test_a_job_goes_its_way(db: Database, add: AddJob, fakes, made) -> None:
    job = add("a", kind="fake", config_yaml="x", payload=fakes("a"))
    supervisor = made()
    running = until([supervisor], db, job, "running")
    assert running.run.config.read_text() == "x"
    ended = until([supervisor], db, job, "finished")
    assert (ended.exit_code, ended.attempt, ended.device, ended.owner) == (0, 1, "cpu", None)
    assert ended.ended is not None
    assert ended.started is not None
    assert ended.created <= ended.started <= ended.ended


def test_a_worker_sees_its_own_gpu_only(db: Database, add: AddJob) -> None:
    for queue, visible in (("gpu:3", "3"), ("cpu", "")):
        add(queue, queue=queue)
        job = claim(db, queue, takes_any=False)
        assert job is not None
        assert environment_of(job) == {
            ATTEMPT_VARIABLE: f"{job.token}-1", "CUDA_VISIBLE_DEVICES": visible, "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        }  # fmt: skip


def test_a_deaf_worker_is_killed_when_patience_ends(db: Database, add: AddJob, fakes, made) -> None:
    job = add("a", kind="fake", config_yaml="x", payload=fakes("a", steps=10_000, deaf=True))
    first, second = made(), made()
    until([first], db, job, "running")
    control.stop(db, job.id, patience_seconds=0.8)
    time.sleep(RHYTHM.lease + 0.05)  # the first one stands still: the second, no parent of the worker, ends it
    began = time.monotonic()
    ended = until([second], db, job, "stopped")
    assert 0.1 < time.monotonic() - began < 5
    assert "had stopped by itself" in ended.message
    assert not is_running(job.run)
    progress = read_progress(job.run)
    assert progress is not None
    assert progress.state == "stopped", "the run's page does not say that it runs"


def test_a_job_whose_run_somebody_else_trains_waits_and_says_so(db: Database, add: AddJob, fakes, made) -> None:
    job = add("a", kind="fake", config_yaml="x", payload=fakes("a"), continues=True)
    run, _ = create_run(job.run_dir.parent, "a", "x")
    supervisor = made()
    with worker_lock(run):
        look_once(supervisor)
        look_once(supervisor)
        waiting = store.get(db, job.id)
        assert (waiting.state, waiting.attempt) == ("starting", 1)
        assert "outside of the queue" in waiting.message
    assert until([supervisor], db, job, "finished").attempt == 1


def test_a_waiting_job_can_be_stopped_and_the_other_training_goes_on(db: Database, add: AddJob, fakes, made) -> None:
    job = add("a", kind="fake", config_yaml="x", payload=fakes("a"), continues=True)
    run, _ = create_run(job.run_dir.parent, "a", "x")
    supervisor = made()
    with worker_lock(run):
        look_once(supervisor)
        control.stop(db, job.id)
        until([supervisor], db, job, "stopped")
        assert not (run.controls / "stop").exists()


@pytest.mark.parametrize("kind", ["fake", "unheard_of"])
def test_what_cannot_begin_fails_with_its_reason_and_the_queue_goes_on(
    db: Database, add: AddJob, fakes, made, kind: str
) -> None:
    bad, good = add("bad", kind=kind, config_yaml="x"), add("good", kind="fake", config_yaml="x", payload=fakes("good"))
    bad.run_dir.mkdir(parents=True)
    (bad.run_dir / "photo.png").touch()
    supervisor = made()
    failed = until([supervisor], db, bad, "failed")
    assert ("already a run" if kind == "fake" else "unheard_of") in failed.message
    until([supervisor], db, good, "finished")


def test_changed_settings_reach_the_run_when_it_goes_on(db: Database, add: AddJob, fakes, made) -> None:
    job = add("a", kind="fake", config_yaml="steps: 1", payload=fakes("a"))
    supervisor = made()
    until([supervisor], db, job, "finished")
    control.requeue(db, job.id, config_yaml="steps: 2")
    ended = until([supervisor], db, job, "finished")
    assert (ended.attempt, ended.run.config.read_text()) == (2, "steps: 2")


def test_a_late_worker_counts_instead_of_a_second_one(db: Database, add: AddJob, fakes, made) -> None:
    """Its supervisor died, it came when others had given up on it, and right before its attempt was called off."""
    job = add("a", kind="fake", config_yaml="x", payload=fakes("a", steps=150))
    first = claim(db, "cpu", "gone", lease=-1)
    assert first is not None
    late = begin(first, lambda: True, WORKERS)
    assert late is not None
    while not (is_running(job.run) and read_worker(job.run)):
        time.sleep(0.01)
    assert leases.settle(db, first, "gone", "queued")
    supervisor = made()
    now = until([supervisor], db, job, "running")
    assert (now.attempt, len(supervisor.children)) == (1, 0)
    assert until([supervisor], db, job, "finished").attempt == 1
    late.wait(5)
    assert (Path(str(fakes("a")["witness"])).read_text()).count("come") == 1


def test_who_lost_the_job_on_the_way_starts_nothing(db: Database, add: AddJob, fakes) -> None:
    add("a", kind="fake", config_yaml="x", payload=fakes("a"))
    job = claim(db, "cpu")
    assert job is not None
    assert begin(job, lambda: False, WORKERS) is None
    assert ordered_attempt(job.run) is None
    assert not job.run.log.exists()


def test_the_real_worker_leaves_a_run_for_which_it_comes_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = create_run(tmp_path, "a", "x")
    order_attempt(run, "t-1")
    monkeypatch.setenv(ATTEMPT_VARIABLE, "t-1")
    monkeypatch.setattr(sys, "argv", ["worker", str(run.path)])
    with worker_lock(run):
        assert not revoke_attempt(run, "t-1"), "somebody holds it: perhaps that worker"
    assert revoke_attempt(run, "t-1")
    assert revoke_attempt(run, "t-2"), "never ordered"
    assert real_worker.main() == SUPERSEDED
    assert read_worker(run) is None
    assert read_progress(run) == Progress()


def test_the_real_worker_writes_down_how_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = create_run(tmp_path, "a", "no: config")
    monkeypatch.setattr(sys, "argv", ["worker", str(run.path)])
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert real_worker.main() == 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    record = read_worker(run)
    assert record is not None
    assert (record.attempt, record.pid, record.exit_code) == ("", os.getpid(), 1)
    assert "config.yaml" in record.message
    assert record.ended is not None


def test_only_the_living_worker_of_that_attempt_is_killed(tmp_path: Path, fakes) -> None:
    run, _ = create_run(tmp_path, "a", "x")
    (run.path / "job.json").write_text(json.dumps(fakes("a", steps=10_000)))
    order_attempt(run, "t-1")
    env = {**os.environ, ATTEMPT_VARIABLE: "t-1", "CUDA_VISIBLE_DEVICES": ""}
    child = subprocess.Popen([sys.executable, "-m", "fake_worker", str(run.path)], env=env, start_new_session=True)
    while not (is_running(run) and read_worker(run)):
        time.sleep(0.01)
    assert not kill_attempt(run, "t-2")
    assert child.poll() is None
    assert kill_attempt(run, "t-1")
    assert child.wait(5) == -signal.SIGKILL
    assert not kill_attempt(run, "t-1"), "its number may be another process's now"


def test_progress_of_another_worker_is_left_alone(db: Database, add: AddJob, made) -> None:
    job = add("a", config_yaml="x", max_resumes=0)
    run, _ = create_run(job.run_dir.parent, "a", "x")
    assert claim(db, "cpu", "gone", lease=-1)
    with db.changing() as change:
        write(change, update(JobRow).values(state="running"))
    write_progress(run, Progress(state="running", step=3, steps=9))
    supervisor = made()
    with worker_lock(run):
        until([supervisor], db, job, "stopped")
    progress = read_progress(run)
    assert progress is not None
    assert progress.state == "running"


class TestOutages:
    @pytest.fixture(params=["postgresql"])
    def database_url(self, request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> str:
        """A server, which can end connections."""
        return new_database(request.param)

    def test_a_database_that_does_not_answer_is_waited_for(
        self, db: Database, add: AddJob, fakes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs = [add(name, kind="fake", config_yaml="x", payload=fakes(name, steps=20)) for name in "ab"]
        outages = iter([True] * 3)
        active_jobs = leases.active_jobs

        def now_and_then(database: Database) -> tuple[Job, ...]:
            if next(outages, False):
                raise OperationalError("SELECT", {}, Exception("the server is starting up"))
            return active_jobs(database)

        monkeypatch.setattr(leases, "active_jobs", now_and_then)
        supervisor, ended = Supervisor(db, ("cpu",), RHYTHM, WORKERS), threading.Event()
        thread = threading.Thread(target=supervise, args=(supervisor, ended), kwargs={"until_idle": True})
        thread.start()
        while thread.is_alive():
            thread.join(0.1)
            _end_all_connections(db)
        assert [store.get(db, job.id).state for job in jobs] == ["finished", "finished"]


def _end_all_connections(db: Database) -> None:
    """As a restart of the server does, also in the middle of a transaction."""
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> {}"
    with psycopg.connect(db.engine.url.set(drivername="postgresql").render_as_string()) as connection:
        connection.execute(others.format("pg_backend_pid()"))

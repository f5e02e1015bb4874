"""kill -9 of the studio's server, supervisors and workers at random moments, while jobs are handed in and stopped
through the API: no job is lost, stuck, or at work twice at a time, and the API tells what the database holds.

`FAULT_SEED=7 FAULT_ROUNDS=50 pytest tests/jobs/test_job_faults.py` tries other luck, and more of it.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
from fake_worker import saved_step
from studios import Studios, studios_in
from supervisors import RHYTHM, Nursery
from visitor import DEVICES, Visitor
from witness import Line, overlaps, read_witness

from slipstream.jobs import store
from slipstream.jobs.database import Database
from slipstream.jobs.job import ACTIVE, ENDED, WAITING, Job

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "12"))
SEED = os.environ.get("FAULT_SEED", "6")
SECONDS_TO_DRAIN = 40.0
VICTIMS = (
    {"server"}, {"supervisor"}, {"worker"}, {"server", "worker"}, {"supervisor", "worker"},
    {"server", "supervisor", "worker"},
)  # fmt: skip


@dataclass
class Trial:
    """One database, the studio and its visitor, supervisors, and what was done to them."""

    db: Database
    folder: Path
    nursery: Nursery
    studios: Studios
    visitor: Visitor
    dice: random.Random
    alive: list[int] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)
    servers_killed: int = 0
    stalled: list[int] = field(default_factory=list)
    doomed: list[set[str]] = field(default_factory=list)

    @property
    def witness(self) -> Path:
        return self.folder / "witness.txt"

    def workers(self) -> list[int]:
        """Processes of workers, those that are only beginning too."""
        marks = {"fake_worker", str(self.folder / "runs")}
        found = []
        for process in psutil.process_iter(["cmdline"]):
            text = " ".join(process.info["cmdline"] or ())
            if all(mark in text for mark in marks):
                found.append(process.pid)
        return found

    def kill(self, pids: list[int]) -> None:
        self.killed.update(self.signal(pids, signal.SIGKILL))

    def signal(self, pids: list[int], number: signal.Signals) -> list[int]:
        """Send it; returns who was there to get it."""
        reached = []
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
            reached.append(pid)
        return reached

    def round(self, number: int) -> None:
        """Have one or two supervisors, let them work for a moment, kill. Now and then one only stands still, longer
        than a lease, and then goes on as if nothing had been."""
        self.wake()
        self.studios.start()
        self.check_truth()
        while len(self.alive) < 1 + (number % 3 == 0):
            self.alive.append(self.nursery.start())
        time.sleep(self.dice.uniform(0.02, 0.6))
        if not self.doomed:  # each kind as often as the others, in an order of its own
            self.doomed = self.dice.sample(VICTIMS, len(VICTIMS))
        victims = self.doomed.pop()
        if number % 6 == 3:
            self.stalled = [self.alive.pop()]
            self.signal(self.stalled, signal.SIGSTOP)
        if number % 6 == 5:
            self.visitor.wants_a_stop.set()
        if "server" in victims:
            self.servers_killed += self.studios.kill()
        if "supervisor" in victims:
            self.kill(self.alive)
            self.alive.clear()
        if "worker" in victims:
            self.kill(self.workers())

    def wake(self) -> None:
        """Let those go on that stood still, after more than a lease. They may have stood in the middle of a change, and
        hold up everybody: what is asked in that time would wait."""
        if self.stalled:
            time.sleep(1.2 * RHYTHM.lease)
        self.signal(self.stalled, signal.SIGCONT)
        self.stalled.clear()

    def check_truth(self) -> None:
        """The API tells what the database holds, and what it promised is there, once."""
        promised = set(self.visitor.promised)
        deadline = time.monotonic() + SECONDS_TO_DRAIN
        while True:  # until nothing changed between the two looks
            assert time.monotonic() < deadline, "the API and the database never agree"
            told = httpx.get(f"{self.studios.address}/api/jobs?limit=1000", timeout=30, trust_env=False).json()
            page = store.list_jobs(self.db, limit=1000)
            if told["version"] == page.version:
                break
        assert {job["id"]: (job["name"], job["state"], job["device"], job["attempt"]) for job in told["jobs"]} == {
            job.id: (job.name, job.state, job.device, job.attempt) for job in page.jobs
        }
        names = [job.name for job in page.jobs]
        assert len(names) == len(set(names)), "a job came in twice"
        assert promised <= set(names), "a job that was promised is lost"
        at_work = [job.device for job in page.jobs if job.state in ACTIVE]
        assert len(at_work) == len(set(at_work)), f"two jobs on one device: {at_work}"

    def drain(self) -> tuple[Job, ...]:
        """Let one supervisor bring everything to its end."""
        self.wake()
        self.studios.start()
        self.visitor.leave()
        assert self.visitor.troubles == []
        if not self.alive:
            self.alive.append(self.nursery.start())
        deadline = time.monotonic() + SECONDS_TO_DRAIN
        while (left := store.list_jobs(self.db, states=(*WAITING, *ACTIVE))).total:
            assert time.monotonic() < deadline, f"stuck: {left.jobs}\n{(self.folder / 'log.txt').read_text()[-3000:]}"
            time.sleep(0.05)
        return store.list_jobs(self.db, limit=1000).jobs


@pytest.fixture
def trial(db: Database, database_url: str, tmp_path: Path) -> Iterator[Trial]:
    log = tmp_path / "log.txt"
    dice = random.Random(f"{SEED} {db.engine.dialect.name}")
    studios = studios_in(tmp_path, database_url, log)
    visitor = Visitor(studios.address, tmp_path, random.Random(dice.random()))
    made = Trial(db, tmp_path, Nursery(database_url, DEVICES, log), studios, visitor, dice)
    studios.start()
    visitor.come()
    yield made
    try:
        made.wake()
        studios.start()
        visitor.leave()
    finally:
        studios.close()
        made.nursery.close()
        made.kill(made.workers())


def test_whatever_is_killed_every_job_comes_to_its_right_end(trial: Trial) -> None:
    for number in range(ROUNDS):
        trial.round(number)
    jobs = trial.drain()
    trial.check_truth()
    lines = read_witness(trial.witness)
    assert overlaps(lines, "job") == []
    assert overlaps(lines, "device") == []
    begun = [line.attempt for line in lines if line.what.startswith("begin")]
    assert len(begun) == len(set(begun)), "an attempt was begun twice"
    assert trial.killed & {line.pid for line in lines}, "no worker was killed: the trial tried nothing"
    assert trial.servers_killed >= ROUNDS // 6 * 3
    assert len(jobs) >= ROUNDS // 2
    for job in jobs:
        _is_right(trial, job, [line for line in lines if line.job == job.name])
    assert trial.workers() == []
    print(
        f"{trial.db.engine.dialect.name}: {ROUNDS} rounds, {trial.servers_killed} servers, {len(trial.killed)} others"
        f" killed, {trial.visitor.unanswered} requests without an answer, {len(jobs)} jobs, {len(begun)} attempts; the"
        f" studio was back after {max(trial.studios.waited):.1f} s at most"
    )


def _is_right(trial: Trial, job: Job, lines: list[Line]) -> None:
    """The job's end is the one that its worker came to, and nothing that was saved was lost on the way."""
    orders = trial.visitor.ordered[job.name]
    told = f"{job}\n" + "\n".join(f"{line.pid} {line.what}" for line in lines)
    ends = [line.what.split()[1] for line in lines if line.what.startswith("over")]
    assert job.state in ENDED, told
    assert len(ends) <= 1, told
    if ends:
        assert job.state == ends[0], told
    elif job.state == "failed" and "was killed" in job.message:
        assert job.resumes == job.max_resumes, told
    elif job.state == "stopped":
        assert job.id in trial.visitor.asked_to_stop, told
    else:
        assert lines, told
        assert lines[-1].pid in trial.killed, f"it ended and did not say so: {told}"
    if job.state == "finished":
        assert (saved_step(job.run), job.exit_code, "fail_at" in orders) == (orders["steps"], 0, False), told
    if job.state == "failed" and job.exit_code == 1:
        assert (job.message, "fail_at" in orders) == ("as planned", True), told
    begins = [int(line.what.split()[1]) for line in lines if line.what.startswith("begin")]
    assert begins == sorted(begins), f"a resume went back: {told}"
    assert job.attempt >= len(begins), told
    if ends:
        assert [line.what for line in lines if line.what != "come"][-1] == f"over {ends[0]}", told

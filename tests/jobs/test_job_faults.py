"""kill -9 of supervisors, workers and both, at random moments: no job is lost, stuck, or at work twice at a time."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from fake_worker import saved_step
from supervisors import Nursery
from witness import Line, overlaps, read_witness

from slipstream.core.errors import JobError
from slipstream.jobs import control, store
from slipstream.jobs.database import Database
from slipstream.jobs.job import ACTIVE, ENDED, WAITING, Job, NewJob

ROUNDS = 25
DEVICES = ("gpu:0", "gpu:1")
SEED = os.environ.get("FAULT_SEED", "6")
SECONDS_TO_DRAIN = 40.0


@dataclass
class Trial:
    """One database, its supervisors, and what was done to them."""

    db: Database
    folder: Path
    nursery: Nursery
    dice: random.Random
    alive: list[int] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)
    stalled: list[int] = field(default_factory=list)
    asked_to_stop: set[int] = field(default_factory=set)

    @property
    def witness(self) -> Path:
        return self.folder / "witness.txt"

    def add(self, number: int) -> None:
        """A job: most finish, every fifth fails by itself, and every fourth may not be taken up again."""
        name = f"job_{number}"
        steps = self.dice.randint(10, 40)
        payload = {"name": name, "witness": str(self.witness), "steps": steps, "seconds": 0.01}
        if number % 3 == 2:
            payload["late"] = 0.8  # longer than a lease: others give up on it before it comes
        if number % 5 == 4:
            payload["fail_at"] = steps - 2
        queue = self.dice.choice(["any", "any", *DEVICES])
        store.add(
            self.db,
            NewJob(name, self.folder / "runs" / name, "fake", "x", payload, queue, max_resumes=100 * (number % 4 > 0)),
        )

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
        for pid in self.stalled:
            self.signal([pid], signal.SIGCONT)
        self.stalled.clear()
        while len(self.alive) < 1 + (number % 3 == 0):
            self.alive.append(self.nursery.start())
        waiting = store.list_jobs(self.db, states=WAITING).total
        for extra in range(max(0, 3 - waiting)):
            self.add(3 * number + extra)
        time.sleep(self.dice.uniform(0.02, 0.6))
        victim = self.dice.choice(["supervisor", "worker", "both"])
        if number % 6 == 3:
            self.stalled = [self.alive.pop()]
            self.signal(self.stalled, signal.SIGSTOP)
        if victim != "worker":
            self.kill(self.alive)
            self.alive.clear()
        if victim != "supervisor":
            self.kill(self.workers())
        if number % 6 == 5:
            self.stop_one()

    def stop_one(self) -> None:
        jobs = store.list_jobs(self.db, states=ACTIVE).jobs
        if not jobs:
            return
        job = self.dice.choice(jobs)
        try:
            control.stop(self.db, job.id)
        except JobError:
            return
        self.asked_to_stop.add(job.id)

    def drain(self) -> tuple[Job, ...]:
        """Let one supervisor bring everything to its end."""
        if not self.alive:
            self.alive.append(self.nursery.start())
        deadline = time.monotonic() + SECONDS_TO_DRAIN
        while (left := store.list_jobs(self.db, states=(*WAITING, *ACTIVE))).total:
            assert time.monotonic() < deadline, f"stuck: {left.jobs}\n{(self.folder / 'log.txt').read_text()[-3000:]}"
            time.sleep(0.1)
        return store.list_jobs(self.db, limit=1000).jobs


@pytest.fixture
def trial(db: Database, database_url: str, tmp_path: Path) -> Iterator[Trial]:
    nursery = Nursery(database_url, DEVICES, tmp_path / "log.txt")
    made = Trial(db, tmp_path, nursery, random.Random(f"{SEED} {db.engine.dialect.name}"))
    yield made
    nursery.close()
    made.kill(made.workers())


def test_whatever_is_killed_every_job_comes_to_its_right_end(trial: Trial) -> None:
    for number in range(ROUNDS):
        trial.round(number)
    jobs = trial.drain()
    lines = read_witness(trial.witness)
    assert overlaps(lines, "job") == []
    assert overlaps(lines, "device") == []
    begun = [line.attempt for line in lines if line.what.startswith("begin")]
    assert len(begun) == len(set(begun)), "an attempt was begun twice"
    assert trial.killed & {line.pid for line in lines}, "no worker was killed: the trial tried nothing"
    assert len(jobs) >= ROUNDS // 2
    for job in jobs:
        _is_right(trial, job, [line for line in lines if line.job == job.name])
    assert trial.workers() == []


def _is_right(trial: Trial, job: Job, lines: list[Line]) -> None:
    """The job's end is the one that its worker came to, and nothing that was saved was lost on the way."""
    told = f"{job}\n" + "\n".join(f"{line.pid} {line.what}" for line in lines)
    ends = [line.what.split()[1] for line in lines if line.what.startswith("over")]
    assert job.state in ENDED, told
    assert len(ends) <= 1, told
    if ends:
        assert job.state == ends[0], told
    elif job.state == "failed" and "was killed" in job.message:
        assert job.resumes == job.max_resumes, told
    elif job.state == "stopped":
        assert job.id in trial.asked_to_stop, told
    else:
        assert lines, told
        assert lines[-1].pid in trial.killed, f"it ended and did not say so: {told}"
    if job.state == "finished":
        assert (saved_step(job.run), job.exit_code, "fail_at" in job.payload) == (job.payload["steps"], 0, False), told
    if job.state == "failed" and job.exit_code == 1:
        assert (job.message, "fail_at" in job.payload) == ("as planned", True), told
    begins = [int(line.what.split()[1]) for line in lines if line.what.startswith("begin")]
    assert begins == sorted(begins), f"a resume went back: {told}"
    assert job.attempt >= len(begins), told
    if ends:
        assert [line.what for line in lines if line.what != "come"][-1] == f"over {ends[0]}", told

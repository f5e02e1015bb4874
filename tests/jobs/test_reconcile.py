"""Every way in which a supervisor can find a job, and what it makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipstream.jobs.job import Job, State
from slipstream.jobs.reconcile import Seen, judge
from slipstream.runs.attempts import WorkerRecord

NOW = 1000.0


def job(state: State, **more: object) -> Job:
    values: dict[str, object] = {
        "id": 1, "token": "t", "name": "a", "kind": "train", "payload": {}, "config_yaml": "", "state": state,
        "position": 1, "queue": "any", "device": "cpu", "run_dir": Path("/r/a"), "created": 0.0, "started": 1.0,
        "ended": None, "attempt": 2, "resumes": 0, "max_resumes": 1, "exit_code": None, "message": "", "owner": "me",
        "lease_expires": 9.0, "heartbeat": 8.0, "kill_at": None, "continues": False, "parent_id": None, "version": 1,
    }  # fmt: skip
    return Job(**{**values, **more})  # type: ignore[arg-type]


def record(attempt: str = "t-2", exit_code: int | None = None, message: str = "") -> WorkerRecord:
    return WorkerRecord(attempt, 77, 1.0, None if exit_code is None else 2.0, exit_code, message)


LIVING = Seen(True, record())
DEAD = Seen(False, record(), step=5)
NEVER = Seen(False)


@pytest.mark.parametrize(
    ("state", "seen", "act", "after"),
    [
        ("starting", LIVING, "set", "running"),
        ("running", LIVING, "wait", None),
        ("stopping", LIVING, "ask to stop", None),
        # our own child that has not taken its run yet
        ("starting", Seen(False, None, True, None), "wait", None),
        ("starting", Seen(True, None, True, None), "wait", None),
        ("stopping", Seen(False, None, True, None), "ask to stop", None),
        # it has written its end, but is not gone
        ("running", Seen(True, record(exit_code=0)), "wait", None),
        ("running", Seen(False, record(exit_code=0), True, None), "wait", None),
        # it is gone and has said how it ended; also where it was killed after that
        ("running", Seen(False, record(exit_code=0)), "set", "finished"),
        ("starting", Seen(False, record(exit_code=0), True, 0), "set", "finished"),
        ("running", Seen(False, record(exit_code=0), True, -9), "set", "finished"),
        ("running", Seen(False, record(exit_code=10)), "set", "stopped"),
        ("stopping", Seen(False, record(exit_code=10)), "set", "stopped"),
        ("stopping", Seen(False, record(exit_code=0)), "set", "finished"),
        ("running", Seen(False, record(exit_code=1, message="no")), "set", "failed"),
        ("stopping", Seen(False, record(exit_code=1)), "set", "failed"),
        # it is gone and has said nothing
        ("running", DEAD, "set", "queued"),
        ("starting", DEAD, "set", "queued"),
        ("stopping", DEAD, "set", "stopped"),
        ("starting", Seen(False, None, True, -9), "set", "queued"),
        ("starting", Seen(False, record("t-1", 0), True, -9), "set", "queued"),
        ("stopping", Seen(False, None, True, -9), "set", "stopped"),
        # it could not begin
        ("starting", Seen(False, None, True, 1), "set", "failed"),
        # nobody saw it begin
        ("starting", NEVER, "set", "queued"),
        ("starting", Seen(False, record("t-1", 0)), "set", "queued"),
        ("stopping", NEVER, "set", "stopped"),
        # somebody else is at the run
        ("running", Seen(True, record("")), "set", "stopped"),
        ("running", Seen(False, None), "set", "queued"),
    ],
)  # fmt: skip
def test_every_finding_has_its_verdict(state: State, seen: Seen, act: str, after: State | None) -> None:
    verdict = judge(job(state), seen, NOW)
    assert (verdict.act, verdict.state) == (act, after)


def test_a_worker_that_died_is_taken_up_again_as_often_as_was_agreed() -> None:
    verdict = judge(job("running", resumes=0, max_resumes=1), DEAD, NOW)
    assert (verdict.state, verdict.counts) == ("queued", True)
    assert "step 5; goes on by itself (1 of 1)" in verdict.message
    verdict = judge(job("running", resumes=1, max_resumes=1), DEAD, NOW)
    assert (verdict.state, verdict.counts) == ("failed", False)
    assert "was killed at step 5" in verdict.message
    assert "fix:" in verdict.message
    verdict = judge(job("starting", resumes=1, max_resumes=1), NEVER, NOW)
    assert (verdict.state, verdict.counts) == ("queued", False), "that the supervisor died is not the job's fault"


def test_only_a_worker_that_may_still_come_is_told_not_to() -> None:
    assert judge(job("starting"), NEVER, NOW).revokes
    assert judge(job("stopping"), NEVER, NOW).revokes
    assert not judge(job("starting"), Seen(False, None, True, -9), NOW).revokes
    assert not judge(job("running"), DEAD, NOW).revokes


def test_patience_ends() -> None:
    assert judge(job("stopping", kill_at=NOW + 1), LIVING, NOW).act == "ask to stop"
    assert judge(job("stopping", kill_at=NOW), LIVING, NOW).act == "kill"


def test_an_end_is_told_as_the_worker_told_it() -> None:
    verdict = judge(job("running"), Seen(False, record(exit_code=1, message="the disk is full")), NOW)
    assert (verdict.exit_code, verdict.message) == (1, "the disk is full")
    assert judge(job("running"), Seen(False, record(exit_code=0), True, -9), NOW).exit_code == 0
    assert judge(job("running", max_resumes=0), Seen(False, record(), True, -9), NOW).exit_code == -9

from __future__ import annotations

import threading

import pytest
from job_values import AddJob

from slipstream.jobs import store
from slipstream.jobs.database import Database
from slipstream.jobs.job import ACTIVE, ENDED, STATES, State
from slipstream.jobs.transitions import ALLOWED, set_state


def test_every_state_is_in_the_table_and_can_end() -> None:
    assert set(ALLOWED) == set(STATES)
    for state in STATES:
        reached: set[State] = set()
        front: set[State] = {state}
        while front - reached:
            reached |= front
            front = {after for before in front for after in ALLOWED[before]}
        assert set(ENDED) <= reached, state
    assert all(set(ENDED) <= set(ALLOWED[state]) for state in ACTIVE), "whatever a worker does, its end fits"


@pytest.mark.parametrize("before", STATES)
def test_sql_enforces_the_table(db: Database, add: AddJob, before: State) -> None:
    for after in STATES:
        job = add(f"{before}_{after}")
        with db.changing() as change:
            _force(change, job.id, before)
        with db.changing() as change:
            assert set_state(change, job.id, after) is (after in ALLOWED[before])
        assert store.get(db, job.id).state == (after if after in ALLOWED[before] else before)


def _force(change, job_id: int, state: State) -> None:
    from sqlalchemy import update

    from slipstream.jobs.models import JobRow
    from slipstream.jobs.transitions import write

    assert write(change, update(JobRow).where(JobRow.id == job_id).values(state=state))


def test_asking_for_a_forbidden_step_is_an_error_of_the_code(db: Database, add: AddJob) -> None:
    job = add("a")
    with db.changing() as change, pytest.raises(ValueError, match="cannot follow"):
        set_state(change, job.id, "running", before=["queued"])


def test_owner_and_attempt_must_be_the_jobs_own(db: Database, add: AddJob) -> None:
    job = add("a")
    with db.changing() as change:
        assert set_state(change, job.id, "starting", if_attempt=0)
    with db.changing() as change:
        assert not set_state(change, job.id, "running", if_owner="me")
        assert not set_state(change, job.id, "running", if_attempt=1)
    assert store.get(db, job.id).state == "starting"


def test_of_many_who_claim_one_job_one_gets_it(db: Database, add: AddJob) -> None:
    jobs = [add(f"job_{n}") for n in range(8)]
    won: list[tuple[int, int]] = []
    ready = threading.Barrier(6)

    def claim(who: int) -> None:
        ready.wait()
        for job in jobs:
            with db.changing() as change:
                if set_state(change, job.id, "starting", before=["queued"]):
                    won.append((job.id, who))

    threads = [threading.Thread(target=claim, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(job_id for job_id, _ in won) == [job.id for job in jobs]

"""Experiments through the queue: handed in once, gone on with, and never trained twice."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from made import finish, make_experiment

from slipstream.core.errors import JobError
from slipstream.experiments.experiment import settle
from slipstream.experiments.queueing import hand_in, job_finder
from slipstream.experiments.standing import counted, standings
from slipstream.jobs import control, store
from slipstream.jobs.database import Database
from slipstream.jobs.supervisor import Rhythm, Supervisor, supervise

FAKE = """
import sys
from pathlib import Path
from slipstream.runs.attempts import take_run
from slipstream.runs.layout import RunDir
from slipstream.runs.progress import Progress, write_progress

run = RunDir(Path(sys.argv[1]))
fails = run.name.endswith(("rank_16-s43",)) and not (run.path / "tried").exists()

def work():
    with (run.path / "tried").open("a") as log:
        log.write("once\\n")
    if not fails:
        run.lora.write_bytes(b"lora")
    write_progress(run, Progress(state="failed" if fails else "finished", step=4, steps=4, message="as planned"))
    return 1 if fails else 0

sys.exit(take_run(run, work))
"""
"""A worker that trains nothing; one run fails at its first try."""


def test_runs_are_handed_in_pair_by_pair_and_once(db: Database, tmp_path: Path) -> None:
    one = settle(make_experiment(tmp_path, "target.rank=8,16", seeds=2))
    assert {found.state for found in standings(job_finder(db), one)} == {"new"}
    assert hand_in(db, one) == 4
    names = [job.name.removeprefix(one.name) for job in store.list_jobs(db).jobs]
    assert names == ["-rank_8-s42", "-rank_16-s42", "-rank_8-s43", "-rank_16-s43"]
    assert hand_in(db, one) == 0
    assert counted(standings(job_finder(db), one)) == {"queued": 4}


def test_what_stopped_or_failed_goes_on_and_what_is_finished_stays(db: Database, tmp_path: Path) -> None:
    one = settle(make_experiment(tmp_path, "target.rank=8,16", seeds=2))
    finish(one, one.runs[0])
    assert hand_in(db, one) == 3
    jobs = store.list_jobs(db).jobs
    control.stop(db, jobs[0].id)
    control.pause(db, jobs[1].id)
    assert [found.state for found in standings(job_finder(db), one)] == ["finished", "stopped", "paused", "queued"]
    assert hand_in(db, one) == 1
    assert [found.state for found in standings(job_finder(db), one)] == ["finished", "queued", "paused", "queued"]


def test_a_run_that_was_trained_without_the_queue_is_taken_up(db: Database, tmp_path: Path) -> None:
    one = settle(make_experiment(tmp_path, "target.rank=8,16", seeds=1))
    run = finish(one, one.runs[0], state="stopped")
    (run.checkpoints / "state_000000002.pt").write_bytes(b"state")
    assert standings(None, one)[0].state == "stopped"
    assert hand_in(db, one) == 2
    assert [job.continues for job in store.list_jobs(db).jobs] == [True, False]


def test_the_run_of_another_training_is_not_touched(db: Database, tmp_path: Path) -> None:
    one = settle(make_experiment(tmp_path, "target.rank=8,16", seeds=1))
    run = finish(one, one.runs[0])
    run.config.write_text(run.config.read_text().replace("rank: 8", "rank: 9"))
    with pytest.raises(JobError, match=r"trained with other settings \(target.rank\)"):
        hand_in(db, one)


def test_the_queue_works_an_experiment_off(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pretending_worker.py").write_text(FAKE)
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")]), *filter(None, sys.path)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    one = settle(make_experiment(tmp_path, "target.rank=8,16", seeds=2))
    hand_in(db, one)

    def work() -> None:
        supervisor = Supervisor(db, ("cpu",), Rhythm(lease=5, heartbeat=1, look=0.03), {"train": "pretending_worker"})
        supervise(supervisor, threading.Event(), until_idle=True)

    work()
    assert Counter(found.state for found in standings(job_finder(db), one)) == {"finished": 3, "failed": 1}
    assert standings(job_finder(db), one)[3].progress.message == "as planned"
    assert hand_in(db, one) == 1
    work()
    assert {found.state for found in standings(job_finder(db), one)} == {"finished"}
    tries = [len((one.run_dir(planned).path / "tried").read_text().split()) for planned in one.runs]
    assert tries == [1, 1, 1, 2]

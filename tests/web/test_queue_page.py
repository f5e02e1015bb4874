"""The queue in services and in a real browser: lanes, order, and what may be done with a job."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from example_runs import as_if, make_run
from playwright.sync_api import Page, expect
from served import Served

from slipstream.core.errors import JobError
from slipstream.jobs import control, store
from slipstream.jobs.database import Database, open_database
from slipstream.jobs.job import Job, NewJob, State
from slipstream.jobs.places import database_url
from slipstream.jobs.transitions import set_state
from slipstream.runs.lock import worker_lock
from slipstream.web.services.drafts import read_kept
from slipstream.web.services.form.draft import read_draft
from slipstream.web.services.queue import queue_of
from slipstream.web.services.queue_actions import act, drop
from slipstream.web.services.queue_board import Board, Lane, actions_of, board, count, neighbours
from slipstream.web.services.run_jobs import ask_run, draft_from_checkpoint, go_on, has_job, steps_to_go_on

CONFIG = """
job: {{name: {name}, output_dir: {runs}}}
model: {{name_or_path: tiny/turbo}}
datasets: [{{path: {runs}}}]
"""


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    found = open_database(database_url(tmp_path / "home"))
    yield found
    found.close()


def add(db: Database, runs: Path, name: str, queue: str = "cpu", kind: str = "train") -> Job:
    return store.add(
        db, NewJob(name, runs / name, kind=kind, queue=queue, config_yaml=CONFIG.format(name=name, runs=runs))
    )


def put(db: Database, job: Job, state: State, **values: object) -> None:
    """Let a job be in a state."""
    with db.changing() as change:
        assert set_state(change, job.id, state, before=[store.read(change.session, job.id).state], **values)


def names(lane: Lane) -> list[str]:
    return [card.name for card in lane.waiting]


def lane(found: Board, name: str) -> Lane:
    return next(one for one in found.lanes if one.name == name)


def test_a_board_has_a_lane_for_each_device_and_what_ended_below(db, tmp_path):
    run = make_run(tmp_path, "busy", state="running", done=30)
    busy, done = add(db, tmp_path, "busy", "any"), add(db, tmp_path, "done")
    add(db, tmp_path, "next", "gpu:1")
    put(db, busy, "starting", device="gpu:0")
    put(db, busy, "running")
    put(db, done, "starting")
    put(db, done, "failed", message="no disk", ended=5.0)
    control.pause_queue(db, "cpu")
    found = board(db, tmp_path, ("gpu:0", "gpu:1", "cpu", "any"))
    assert [one.name for one in found.lanes] == ["gpu:0", "gpu:1", "cpu", "any"]
    assert [one.paused for one in found.lanes] == [False, False, True, False]
    (card,) = lane(found, "gpu:0").active
    assert (card.run, card.step, card.steps, card.loss) == ("busy", 30, 100, pytest.approx(card.loss))
    assert names(lane(found, "gpu:1")) == ["next"]
    assert [(one.name, one.message) for one in found.ended] == [("done", "no disk")]
    assert (count(db).active, count(db).waiting) == (1, 1)
    assert board(db, tmp_path, ("gpu:0", "gpu:1", "cpu", "any")) == found
    as_if(run, step=31)
    assert board(db, tmp_path, ()) != found


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], {"up", "down", "pause", "front", "edit", "clone", "stop", "remove"}),
        (["paused"], {"up", "down", "resume", "front", "edit", "clone", "stop", "remove"}),
        (["starting"], {"stop", "clone"}),
        (["starting", "stopping"], {"kill", "clone"}),
        (["starting", "failed"], {"requeue", "edit", "clone", "remove"}),
    ],
)
def test_what_may_be_done_with_a_job(db, tmp_path, states, expected):
    job = add(db, tmp_path, "one")
    for state in states:
        put(db, job, state)
    found = board(db, tmp_path, ())
    (card,) = (*(one for each in found.lanes for one in (*each.active, *each.waiting)), *found.ended)
    assert set(actions_of(card)) == expected


def test_a_job_that_trains_nothing_is_neither_edited_nor_copied(db, tmp_path):
    add(db, tmp_path, "captions", kind="caption")
    (card,) = lane(board(db, tmp_path, ()), "cpu").waiting
    assert not {"edit", "clone"} & set(actions_of(card))


def test_up_and_down_go_by_the_lane_and_do_nothing_at_its_ends(db, tmp_path):
    a, other, b, c = (add(db, tmp_path, name, queue) for name, queue in
                      (("a", "cpu"), ("other", "any"), ("b", "cpu"), ("c", "cpu")))  # fmt: skip
    now = lambda: lane(board(db, tmp_path, ()), "cpu")  # noqa: E731
    assert neighbours(now(), b.id) == (a.id, c.id)
    assert neighbours(now(), other.id) == (None, None)
    act(db, b.id, "up", now())
    assert names(now()) == ["b", "a", "c"]
    act(db, b.id, "up", now())
    act(db, b.id, "down", now())
    act(db, b.id, "down", now())
    act(db, b.id, "down", now())
    assert names(now()) == ["a", "c", "b"]
    act(db, b.id, "front")
    assert names(now()) == ["b", "a", "c"]


def test_a_job_is_dropped_before_another_or_on_another_device(db, tmp_path):
    a, b, c = (add(db, tmp_path, name, queue) for name, queue in (("a", "cpu"), ("b", "cpu"), ("c", "any")))
    drop(db, b.id, "cpu", a.id)
    drop(db, c.id, "cpu", a.id)
    assert names(lane(board(db, tmp_path, ()), "cpu")) == ["b", "c", "a"]
    drop(db, b.id, "any", None)
    found = board(db, tmp_path, ())
    assert (names(lane(found, "cpu")), names(lane(found, "any"))) == (["c", "a"], ["b"])
    put(db, a, "starting")
    with pytest.raises(JobError):
        drop(db, a.id, "cpu", None)


def test_acting_on_a_job_whose_state_has_changed_is_refused(db, tmp_path):
    job = add(db, tmp_path, "one")
    put(db, job, "starting")
    for action in ("pause", "requeue", "remove", "front"):
        with pytest.raises(JobError):
            act(db, job.id, action)
    assert act(db, job.id, "stop").state == "stopping"
    put(db, job, "stopped")
    assert act(db, job.id, "clone").state == "paused"
    assert act(db, job.id, "requeue").state == "queued"


def test_a_run_goes_on_through_the_queue_and_is_stopped_there(settings):
    run = make_run(settings.runs_dir, "foxy", state="stopped", done=50)
    assert (steps_to_go_on(run), has_job(settings, run)) == (100, False)
    number = go_on(settings, run, 300)
    job = store.get(queue_of(settings), number)
    assert (job.state, job.run_dir, "steps: 300" in job.config_yaml) == ("queued", run.path.resolve(), True)
    assert has_job(settings, run)
    with worker_lock(run):
        put(queue_of(settings), job, "starting")
        put(queue_of(settings), job, "running")
        ask_run(settings, run, "stop")
        assert store.get(queue_of(settings), number).state == "stopping"
    as_if(run, step=300, steps=300)
    assert steps_to_go_on(run) == 450


def test_a_new_job_is_drafted_from_a_checkpoint(settings):
    run = make_run(settings.runs_dir, "foxy")
    name = draft_from_checkpoint(settings, run, "foxy_000000050.safetensors")
    draft = read_draft(read_kept(settings.home, name))
    assert draft.given("target.start_from") == str(run.checkpoints / "foxy_000000050.safetensors")
    assert draft.given("job.name") not in ("foxy", None)


@pytest.fixture
def waiting(studio: Served) -> Iterator[Database]:
    """Three jobs in a queue that starts nothing."""
    db = open_database(database_url(studio.home))
    for name in ("cpu", "any"):
        control.pause_queue(db, name)
    for name in ("first", "second", "third"):
        add(db, studio.runs, name)
    yield db
    for state in ("queued", "paused", "stopped"):
        for job in store.list_jobs(db, states=[state]).jobs:
            store.delete_job(db, job.id)
    db.close()


def test_jobs_are_ordered_by_keyboard_and_mouse_paused_copied_and_removed(page: Page, waiting: Database):
    page.goto("/queue")
    rows = page.locator(".r-job-waiting .r-run-head")
    expect(rows).to_have_text(
        [re.compile(f"{n}{name}Waiting") for n, name in ((1, "first"), (2, "second"), (3, "third"))]
    )
    page.get_by_role("button", name="Move third up").press("Enter")
    expect(rows).to_have_text([re.compile("first"), re.compile("third"), re.compile("second")])
    page.locator(".r-job-waiting").filter(has_text="second").drag_to(
        page.locator(".r-job-waiting").filter(has_text="first")
    )
    expect(rows).to_have_text([re.compile("second"), re.compile("first"), re.compile("third")])
    page.get_by_role("button", name="Pause first").click()
    expect(rows.filter(has_text="first")).to_contain_text("Paused")
    page.get_by_role("button", name="More to do with first").click()
    page.get_by_text("Make a copy").click()
    expect(rows).to_have_count(4)
    expect(rows.last).to_contain_text("first_2")
    page.get_by_role("button", name="More to do with second").click()
    page.get_by_text("Remove", exact=True).click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(rows).to_have_count(3)
    third = next(job for job in store.list_jobs(waiting).jobs if job.name == "third")
    put(waiting, third, "starting", device="cpu")
    expect(page.locator(".r-job-active")).to_contain_text("Starting")
    page.get_by_role("button", name="Stop third").click()
    expect(page.locator(".r-job-active")).to_contain_text("Stopping")
    put(waiting, third, "stopped")
    expect(page.get_by_role("button", name="Put third back into the queue")).to_be_visible()
    page.goto("/")
    expect(page.get_by_text("0 at work, 2 waiting")).to_be_visible()

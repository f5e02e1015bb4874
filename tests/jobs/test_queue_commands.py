"""`slipstream queue ...` as a user types it, and the supervisor that it starts."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml
from typer.testing import CliRunner, Result

from slipstream.cli import queueing
from slipstream.cli.app import app
from slipstream.core.errors import ConfigError, JobError
from slipstream.jobs import service
from slipstream.jobs.places import DATABASE_VARIABLE, HOME_VARIABLE
from slipstream.runs.create import create_run

Run = Callable[..., str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A queue command without a supervisor; what it printed. What is refused is raised."""
    monkeypatch.setattr(queueing, "ensure_supervisor", lambda: False)
    monkeypatch.setattr(queueing, "find_gpus", lambda: ())

    def call(*arguments: str) -> str:
        capsys.readouterr()
        result: Result = CliRunner().invoke(app, ["queue", *arguments], standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return capsys.readouterr().out + result.output

    return call


def config(folder: Path, name: str) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"job": {"name": name}, "datasets": [{"path": "pictures"}]}))
    return str(path)


def listed(run: Run, *arguments: str) -> list[tuple[str, str]]:
    return [(job["name"], job["state"]) for job in json.loads(run("list", "--json", *arguments))]


def test_a_queue_is_filled_ordered_and_emptied(run: Run, tmp_path: Path) -> None:
    assert "nothing runs or waits" in run("list")
    for name in ("anna", "berta", "clara"):
        assert "queued for any" in run("add", config(tmp_path, name), "training.steps=7")
    run("move", "3", "--front")
    run("move", "1", "--after", "2")
    run("pause", "2")
    assert listed(run) == [("clara", "queued"), ("berta", "paused"), ("anna", "queued")]
    assert "no supervisor lives" in run("list")
    run("resume", "2")
    run("stop", "2")
    assert listed(run) == [("clara", "queued"), ("anna", "queued")]
    assert listed(run, "--all")[1] == ("berta", "stopped")
    run("requeue", "2", "training.steps=9", "--front")
    jobs = json.loads(run("list", "--json"))
    assert [yaml.safe_load(job["config_yaml"])["training"]["steps"] for job in jobs] == [9, 7, 7]
    assert "stays" in run("remove", "2")
    assert len(listed(run)) == 2


def test_queues_pause_by_name(run: Run) -> None:
    run("pause", "cpu")
    assert "the queue cpu is paused" in run("list")
    run("resume", "cpu")
    assert "paused" not in run("list")
    with pytest.raises(JobError, match="neither a job's number nor a queue"):
        run("pause", "gpu:5")


def test_what_no_device_serves_or_nobody_can_mean_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no gpu:4"):
        run("add", config(tmp_path, "anna"), "--queue", "gpu:4")
    folder, _ = create_run(tmp_path, "old", Path(config(tmp_path, "old")).read_text())
    with pytest.raises(ConfigError, match="brings its own settings"):
        run("add", str(folder.path), "training.steps=3")
    assert "old" in run("add", str(folder.path), "--paused")
    with pytest.raises(JobError, match="where to"):
        run("move", "1")


def test_one_supervisor_lives_and_outlives_who_started_it(home: Path) -> None:
    assert service.find_supervisor() is None
    assert not service.stop_supervisor()
    assert service.ensure_supervisor()
    found = wait_for(service.find_supervisor)
    assert found.queues == service.queue_names(service.find_gpus())
    assert os.getsid(found.pid) == found.pid != os.getsid(0)
    assert not service.ensure_supervisor()
    with pytest.raises(JobError, match="at work already"):
        service.serve()
    wait_for(lambda: "supervisor" in service.log_path().read_text())
    assert service.stop_supervisor()
    wait_for(lambda: service.find_supervisor() is None)
    assert (home / "queue.db").exists()


def test_a_supervisor_ends_with_its_home(home: Path) -> None:
    assert service.ensure_supervisor()
    pid = wait_for(service.find_supervisor).pid
    shutil.rmtree(home)
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def wait_for(ask):
    deadline = time.monotonic() + 20
    while not (found := ask()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found

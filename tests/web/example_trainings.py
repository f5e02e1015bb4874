"""Runs and a queue with something in them for the pictures in the docs: real trainings of the tiny Turbo, a minute or
two on two cores, and copies of them in the states that a user meets."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from example_runs import as_if

from slipstream.jobs import control, store
from slipstream.jobs.database import Database, open_database
from slipstream.jobs.job import NewJob
from slipstream.jobs.places import database_url
from slipstream.jobs.transitions import set_state
from slipstream.runs.layout import RunDir
from slipstream.runs.lock import worker_lock

EXAMPLES = Path(__file__).parents[2] / "examples"
_OUT_OF_MEMORY = """the GPU is out of memory
  fix: lower training.batch_size or the resolutions, then go on with the run."""


def train(runs_dir: Path, name: str, example: str, *settings: str) -> RunDir:
    """Train an example of the package for a short while."""
    command = [sys.executable, "-m", "slipstream.cli.app", "train", str(EXAMPLES / f"{example}.yaml")]
    given = [f"job.output_dir={runs_dir}", f"job.name={name}", *settings]
    done = subprocess.run([*command, *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return RunDir(runs_dir / name)


def copied(run: RunDir, name: str, last_step: int, **progress: object) -> RunDir:
    """A run as it was after `last_step` updates, with a name and a state of its own."""
    copy = RunDir(run.path.with_name(name))
    shutil.copytree(run.path, copy.path)
    (copy.path / run.lora.name).unlink(missing_ok=True)
    copy.report.unlink(missing_ok=True)
    copy.config.write_text(copy.config.read_text().replace(f"name: {run.name}\n", f"name: {name}\n"))
    for path in (copy.metrics, copy.validation, copy.drift):
        with contextlib.suppress(FileNotFoundError):
            rows = [line for line in path.read_text().splitlines() if json.loads(line)["step"] <= last_step]
            path.write_text("".join(f"{line}\n" for line in rows))
    for path in (*copy.previews.glob("step_*"), *copy.checkpoints.iterdir()):
        step = int(next(part for part in path.stem.split("_") if part.isdigit() and len(part) == 9))
        if step > last_step:
            path.unlink()
        elif path.suffix == ".safetensors":
            path.rename(path.with_name(f"{name}_{step:09d}.safetensors"))
    last = json.loads(copy.metrics.read_text().splitlines()[-1])
    figures = {"loss": last["loss"], "learning_rate": last["learning_rate"], **progress}
    as_if(copy, step=last_step, done=last_step, phase="training", **figures)
    return copy


@contextmanager
def something_going_on(runs_dir: Path, home: Path) -> Iterator[None]:
    """Three trainings that are over (one ran too hot), one that goes on, one stopped, one failed, and a queue."""
    every = (
        "sample.every=20", "save.every=40", "training.validation={fraction: 0.2, every: 20}", "training.drift.every=20",
    )  # fmt: skip
    foxy = train(runs_dir, "foxy_style", "style", "training.steps=160", *every)
    train(runs_dir, "foxy_rank_4", "style", "training.steps=100", "target.rank=4", "target.alpha=4", *every)
    hot = ("training.learning_rate=2e-3", "model.training_adapter=none", "training.steps=80")
    train(runs_dir, "foxy_hot", "style", *every, *hot)
    copied(foxy, "foxy_large_batch", 40, state="failed", steps=1000, message=_OUT_OF_MEMORY)
    copied(foxy, "foxy_slow", 80, state="stopped", steps=400)
    live = copied(foxy, "foxy_now", 120, state="running", steps=160, eta_seconds=18.0)
    db = open_database(database_url(home))
    with worker_lock(live):
        _fill_queue(db, live)
        yield
    db.close()


def _fill_queue(db: Database, live: RunDir) -> None:
    for queue in ("cpu", "any"):
        control.pause_queue(db, queue)
    config = live.config.read_text()
    jobs = [
        store.add(db, NewJob(name, live.path.with_name(name), config_yaml=config, queue=queue))
        for name, queue in (("foxy_now", "cpu"), ("anna_character", "cpu"), ("watercolour", "cpu"), ("old_maps", "any"))
    ]
    with db.changing() as change:
        set_state(change, jobs[0].id, "starting", device="cpu")
        set_state(change, jobs[0].id, "running")
    control.resume_queue(db, "cpu")
    control.pause(db, jobs[2].id)

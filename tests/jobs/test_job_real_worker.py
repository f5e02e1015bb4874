"""The real worker on the tiny family: killed once, taken up again by itself, and finished."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from slipstream.jobs import store
from slipstream.jobs.database import Database
from slipstream.jobs.supervisor import Rhythm, Supervisor, supervise
from slipstream.jobs.training_jobs import config_from_text, training_job
from slipstream.runs.attempts import read_worker
from slipstream.runs.metrics import read_metrics

PICTURES = Path(__file__).parents[2] / "examples/foxy_style"
CONFIG = """\
job: {{name: small, output_dir: {output}, device: cpu}}
model: {{variant: turbo, name_or_path: tiny/turbo, training_adapter: v2}}
target: {{rank: 4}}
save: {{every: 2}}
training: {{steps: 8, batch_size: 1, optimizer: adamw}}
datasets: [{{path: "{data}", resolutions: [64]}}]
sample: {{prompts: []}}
advanced: {{tensorboard: false}}
"""


@pytest.fixture(params=["sqlite"])
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'queue.db'}"


def test_a_killed_training_goes_on_by_itself(db: Database, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for path in sorted(PICTURES.glob("*.png"))[:4]:
        shutil.copy(path, pictures)
        shutil.copy(path.with_suffix(".txt"), pictures)
    config = config_from_text(CONFIG.format(output=tmp_path / "runs", data=pictures))
    job = store.add(db, training_job(config))
    supervisor = Supervisor(db, ("cpu",), Rhythm(look=0.05))
    thread = threading.Thread(target=supervise, args=(supervisor, threading.Event()), kwargs={"until_idle": True})
    thread.start()
    deadline = time.monotonic() + 120
    while not any(job.run.checkpoints.glob("state_*.pt")):
        assert time.monotonic() < deadline, job.run.log.read_text()
        time.sleep(0.02)
    record = read_worker(job.run)
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)
    thread.join(120)
    assert not thread.is_alive()
    ended = store.get(db, job.id)
    assert (ended.state, ended.attempt, ended.resumes, ended.exit_code) == ("finished", 2, 1, 0), ended
    assert ended.run.lora.exists()
    assert [row["step"] for row in read_metrics(ended.run.metrics)] == list(range(1, 9))

"""A worker without torch: it counts steps, saves now and then, and honours lock, attempts and control flags as the real
one does. It tells a witness file whatever it does, and its end only once that is written down, so that no later kill
undoes it. `python -m fake_worker RUN_DIR`; `job.json` there says what is wanted, or the first prompt of `config.yaml`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from slipstream.core.atomic import write_text
from slipstream.core.errors import RunError
from slipstream.runs.attempts import ATTEMPT_VARIABLE, take_run
from slipstream.runs.controls import clear, take
from slipstream.runs.create import open_run
from slipstream.runs.exit_codes import FAILED, FINISHED, STOPPED, SUPERSEDED
from slipstream.runs.layout import RunDir
from slipstream.runs.progress import Progress, write_progress

SAVE_EVERY = 4
ENDS = {FINISHED: "finished", FAILED: "failed", STOPPED: "stopped"}


def tell(wanted: dict[str, Any], what: str) -> None:
    """One line, written at once and at the end of the file, whoever else writes."""
    line = (
        f"{os.getpid()} {wanted['name']} {os.environ['CUDA_VISIBLE_DEVICES']} {os.environ[ATTEMPT_VARIABLE]} {what}\n"
    )
    descriptor = os.open(wanted["witness"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def saved_step(run: RunDir) -> int:
    """The step of the newest checkpoint."""
    return max((int(path.stem) for path in run.checkpoints.glob("*.step")), default=0)


def save(run: RunDir, step: int) -> None:
    run.checkpoints.mkdir(exist_ok=True)
    write_text(run.checkpoints / f"{step:06d}.step", "", durable=False)


def work(run: RunDir, wanted: dict[str, Any]) -> int:
    clear(run)
    step = saved_step(run)
    tell(wanted, f"begin {step}")
    fail_at = wanted.get("fail_at", float("inf"))
    while step < wanted["steps"]:
        if not wanted.get("deaf") and take(run, "stop"):
            return end(run, wanted, step, "stopped", STOPPED)
        time.sleep(wanted["seconds"])
        step += 1
        tell(wanted, f"step {step}")
        write_progress(run, Progress(state="running", step=step, steps=wanted["steps"]))
        if step % SAVE_EVERY == 0:
            save(run, step)
        if step >= fail_at:
            write_progress(run, Progress(state="failed", step=step, steps=wanted["steps"], message="as planned"))
            return FAILED
    return end(run, wanted, step, "finished", FINISHED)


def end(run: RunDir, wanted: dict[str, Any], step: int, state: Any, code: int) -> int:
    save(run, step)
    write_progress(run, Progress(state=state, step=step, steps=wanted["steps"]))
    return code


def orders_of(run: RunDir) -> dict[str, Any]:
    """What the job says; a training that came through the studio has no payload, but a prompt."""
    if (run.path / "job.json").exists():
        return json.loads((run.path / "job.json").read_text())
    prompt = yaml.safe_load(run.config.read_text())["sample"]["prompts"][0]
    return json.loads(prompt if isinstance(prompt, str) else prompt["prompt"])


def main() -> int:
    run = open_run(Path(sys.argv[1]))
    wanted = orders_of(run)
    tell(wanted, "come")
    time.sleep(wanted.get("late", 0.0))
    try:
        code = take_run(run, lambda: work(run, wanted))
    except RunError as error:
        tell(wanted, "refused")
        sys.stderr.write(f"{error}\n")
        return FAILED
    tell(wanted, "superseded" if code == SUPERSEDED else f"over {ENDS[code]}")
    return code


if __name__ == "__main__":
    sys.exit(main())

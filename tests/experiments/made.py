"""Experiments and their runs, made in a moment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import yaml
from PIL import Image

from slipstream.config.run_config import dump_yaml
from slipstream.experiments.arms import arms_of_settings
from slipstream.experiments.experiment import Experiment, PlannedRun, plan_experiment
from slipstream.experiments.settings import read_wanted
from slipstream.runs.layout import RunDir
from slipstream.runs.progress import Progress, State, write_progress

PROMPTS = ["a [trigger] emoji of fox", "a photo of a dog"]


def write_config(folder: Path, name: str = "foxy", **panels: object) -> Path:
    """A config file for the tiny model."""
    path = folder / f"{name}.yaml"
    values = {
        "job": {"name": name, "output_dir": str(folder / "runs"), "device": "cpu"},
        "model": {"name_or_path": "tiny/turbo"},
        "datasets": [{"path": "pictures", "resolutions": [128]}],
        "training": {"steps": 4},
        "sample": {"prompts": PROMPTS},
        **panels,
    }
    path.write_text(yaml.safe_dump(values))
    return path


def make_experiment(folder: Path, *settings: str, seeds: int = 3, **panels: object) -> Experiment:
    """An experiment over these settings, not written."""
    arms = arms_of_settings(write_config(folder, **panels), read_wanted(settings))
    return plan_experiment(arms, seeds, command="slipstream ab foxy.yaml")


def finish(
    experiment: Experiment, planned: PlannedRun, *, losses: Sequence[float] = (0.5, 0.4), held_out: float | None = None,
    drift: float | None = None, memory: float | None = 2.0, state: State = "finished", pictures: bool = False,
) -> RunDir:  # fmt: skip
    """The run as a worker leaves it."""
    run = experiment.run_dir(planned)
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    run.previews.mkdir(exist_ok=True)
    run.config.write_text(dump_yaml(experiment.config(planned)))
    rows = [{"step": step, "loss": loss, "seconds": 0.5} for step, loss in enumerate(losses, start=1)]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if held_out is not None:
        run.validation.write_text(json.dumps({"step": len(losses), "loss": held_out}) + "\n")
    if drift is not None:
        (run.path / "drift.jsonl").write_text(
            json.dumps({"step": len(losses), "score": drift, "light": "green"}) + "\n"
        )
    if state == "finished":
        run.lora.write_bytes(b"lora")
    if pictures:
        run.manifest.write_text(json.dumps({"sample": {"prompts": PROMPTS}}))
        for step in (0, 2):
            for prompt in range(len(PROMPTS)):
                Image.new("RGB", (32, 32), (60 * planned.arm, step * 20, prompt * 90)).save(
                    run.preview_image(step, prompt)
                )
    progress = Progress(state=state, step=len(losses), steps=len(losses), seconds_per_step=0.5, memory_gib=memory)
    write_progress(run, progress)
    return run

"""Experiments as `slipstream ab` leaves them, made in a moment: for tests and for the pictures in the docs."""

from __future__ import annotations

import json
import math
from pathlib import Path

from example_runs import make_run

from slipstream.config.run_config import dump_yaml, parse_config
from slipstream.experiments.arms import Arm, settings_of
from slipstream.experiments.experiment import Experiment, write_experiment
from slipstream.runs.metrics import append_row

PROMPTS = ("a [trigger] emoji of fox", "a photo of a dog")
_COMMAND = "slipstream ab foxy.yaml model.training_adapter=none,v2 --seeds 3"


def make_experiment(
    runs_dir: Path, name: str = "foxy_none_vs_v2", *, seeds: int = 3, finished: int | None = None
) -> Experiment:
    """An experiment on training adapters, the first `finished` of whose runs (default: all) are finished; none of the
    others has begun."""
    arms = []
    for label in ("none", "v2"):
        config = parse_config(
            {
                "job": {"name": name},
                "model": {"name_or_path": "tiny/turbo", "training_adapter": label},
                "datasets": [{"path": str(runs_dir.parent / "datasets" / "foxes")}],
                "sample": {"prompts": list(PROMPTS)},
            }
        )
        arms.append(Arm("v2" if label == "v2" else "training_adapter none", settings_of(config)))
    numbers = tuple(range(42, 42 + seeds))
    one = write_experiment(
        Experiment(name, tuple(arms), numbers, runs_dir.resolve(), _COMMAND, 1_780_000_000.0, (42, 42))
    )
    for planned in one.runs[:finished]:
        run = make_run(runs_dir, planned.name, prompts=PROMPTS)
        run.config.write_text(dump_yaml(one.config(planned)))
        luck = 0.02 * math.sin(planned.seed)
        rows = [
            {"step": step, "loss": 0.2 + luck + 0.02 * planned.arm + math.exp(-step / 40) + 0.03 * math.sin(1.7 * step),
             "grad_norm": 0.4, "learning_rate": 1e-4, "seconds": 0.5 + 0.02 * planned.arm + luck / 10}
            for step in range(1, 101)
        ]  # fmt: skip
        run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
        run.drift.unlink(missing_ok=True)
        for step in (25, 50, 75, 100):
            score = (8 - 4 * planned.arm + 30 * luck) * step / 100
            append_row(run.drift, {"step": step, "score": score, "light": "green", "changes": {}, "guard": None})
    return one

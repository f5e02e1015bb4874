"""What the drift meter costs: seconds of an update and of a measurement, on random weights of the real size.

    python benchmarks/drift_cost.py --out benchmarks/results/drift_cost.json                  # a GPU, about 3 minutes
    python benchmarks/drift_cost.py --size tiny --sides 128 --out drift_cost_tiny.json        # anywhere

The product's own training job and drift stage; pictures of one side at a time, batch 1. A measurement is timed as the
run's own phase `drift`: training adapter out, walks with the LoRA, training adapter back.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from composition import RandomTraining, training_config
from random_model import model_size
from results import revision

from slipstream.core.atomic import write_json
from slipstream.training.build import drift_stage
from slipstream.training.device import peak_memory_gib
from slipstream.training.loop import TrainingJob


def seconds_of_updates(job: TrainingJob, count: int) -> float:
    """The mean of so many updates, the device waited for."""
    job.settle()
    started = time.perf_counter()
    for _ in range(count):
        job.update()
    job.settle()
    return (time.perf_counter() - started) / count


def measured(training: RandomTraining, side: int, updates: int, measurements: int) -> dict[str, Any]:
    """Figures on pictures of one side."""
    reporter = training.reporter
    with training.job(side) as job:
        seconds_of_updates(job, 5)  # graphs and kernels are chosen
        update = seconds_of_updates(job, updates)
        stage = drift_stage(
            training.setting, reporter, training.adapted, training.state, lambda caption: training.caption_features
        )
        assert stage is not None, "the config has a drift meter"
        spent = []
        for _ in range(measurements + 1):
            job.update()
            job.settle()
            before = reporter.timings["drift"]
            stage.measure()
            spent.append(reporter.timings["drift"] - before)
        after = seconds_of_updates(job, updates)
    every = training.setting.config.training.drift
    assert every is not None
    cost = median(spent[1:])
    return {
        "side": side, "update_seconds": round(update, 4), "update_seconds_after": round(after, 4),
        "first_measurement_seconds": round(spent[0], 4), "measurement_seconds": round(cost, 4),
        "every": every.every, "share_of_training": round(cost / (every.every * update), 5),
    }  # fmt: skip


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("real", "tiny"), default="real")
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--measurements", type=int, default=5)
    parser.add_argument("--set", nargs="*", default=[], help="overrides, such as quantization.transformer=float8")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = training_config(Path(folder), ["advanced.tensorboard=false", *options.set])
        training = RandomTraining(config, model_size(options.size), Path(folder))
        rows = [measured(training, side, options.updates, options.measurements) for side in options.sides]
        said = [line for line in training.said() if line.startswith(("device", "training adapter", "precision"))]
        device = training.setting.compute.device
        peak = peak_memory_gib(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    result = {
        "device": name, "revision": revision(), "size": options.size, "said": said, "rows": rows,
        "peak_gib": round(peak, 2),
    }  # fmt: skip
    write_json(options.out, result)
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()

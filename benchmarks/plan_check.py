"""Holds plans against what they come to: predicted peak and time a step beside the measured ones, card by card.

    python benchmarks/plan_check.py --out measured/plan_check.json                 # one large CUDA card, 20 cases
    python benchmarks/plan_check.py --cases 3 7 --steps 5 --out /tmp/plans.json
    python benchmarks/plan_check.py --size tiny --cases 0 --out /tmp/plans.json    # a dry run on any machine

Torch's allocator is capped to what a card of that size leaves it (0.5 GiB for a screen and what CUDA takes itself are
counted). Every case runs in a process of its own; one that fails is written down, and the others go on. Weights are
random, everything else is the product's own (`composition.py`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from slipstream.core.threads import calm_threads

calm_threads()

import torch  # noqa: E402
from composition import RandomTraining, training_config  # noqa: E402
from random_model import model_size  # noqa: E402
from results import revision  # noqa: E402

from slipstream.config.run_config import RunConfig  # noqa: E402
from slipstream.core.atomic import write_json  # noqa: E402
from slipstream.data.buckets import Bucket  # noqa: E402
from slipstream.memory.planner import Job, Machine, decide  # noqa: E402
from slipstream.training.keeping import tokens_of  # noqa: E402
from slipstream.training.machine import measure_machine  # noqa: E402
from slipstream.training.planning import as_planned, fixed_by, usual_job  # noqa: E402
from slipstream.training.setting import settle_compute  # noqa: E402

GIB = 2**30
SCREEN_GIB = 0.5


@dataclass(frozen=True)
class Case:
    """A card of this many GiB, a side of pictures, and settings over the usual ones."""

    card_gib: float
    side: int
    settings: tuple[str, ...] = ()


CASES = (
    Case(8, 512), Case(8, 768), Case(8, 1024), Case(10, 1024), Case(12, 512), Case(12, 1024), Case(16, 768),
    Case(16, 1024), Case(20, 1024), Case(24, 512), Case(24, 1024), Case(32, 1024), Case(48, 1024), Case(80, 512),
    Case(80, 1024),
    Case(12, 1024, ("quantization.transformer=int8",)),
    Case(24, 1024, ("quantization.transformer=float8", "target.rank=64")),
    Case(24, 768, ("training.batch_size=2",)),
    Case(16, 768, ("training.gradient_checkpointing=full", "training.optimizer=adamw")),
    Case(80, 1024, ("quantization.transformer=float8", "training.batch_size=2")),
)  # fmt: skip


def measure(case: Case, size_name: str, device: str, steps: int, folder: Path) -> dict[str, Any]:
    """One case: plan, load, train."""
    fixed = ("quantization.transformer=auto", "quantization.text_encoder=auto", "training.gradient_checkpointing=auto")
    config = training_config(folder, [*fixed, f"job.device={device}", "sample.prompts=[]", *case.settings])
    size = model_size(size_name)
    compute = settle_compute(config)
    on_cuda = compute.device.type == "cuda"
    if on_cuda:
        cap(compute.device, case.card_gib)
    free = int((case.card_gib - SCREEN_GIB) * GIB)
    machine = (
        measure_machine(compute.device)
        if on_cuda
        else Machine("no GPU", (0, 0), free, free, 64 * GIB, 12.0, 1.0, float8=False)
    )
    plan = decide(machine, job_of(config, case.side))
    row: dict[str, Any] = {
        "device": compute.reasons[0].removeprefix("device: "), "revision": revision(), "size": size_name,
        "cap_gib": case.card_gib, "resolution": case.side, "settings": list(case.settings),
        "free_gib": round(machine.free_bytes / GIB, 2), "tflops": round(machine.bf16_tflops), "fits": plan.chosen.fits,
        "pcie_gbps": round(machine.pcie_gbps, 1), "plan": plan.chosen.describe(), "choice": asdict(plan.chosen.choice),
        "predicted_peak_gib": round(plan.chosen.peaks["train"] / GIB, 2),
        "predicted_ms": round(plan.chosen.seconds_per_step * 1000, 1),
    }  # fmt: skip
    compute = as_planned(config, compute, plan) if on_cuda else compute
    training = RandomTraining(config, size, folder, compute=compute, largest=case.side)
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(compute.device)
    return row | train(training, case.side // size.divide, steps) | {"said": training.said()[-12:]}


def job_of(config: RunConfig, side: int) -> Job:
    """The usual job with a config's settings, training alone."""
    usual, rank = usual_job(), config.target.rank
    return replace(
        usual, batches=[(config.training.batch_size, tokens_of(Bucket(side, side), config), 1.0)], rank=rank,
        num_trained=usual.num_trained // usual.rank * rank, optimizer=config.training.optimizer, encodes=False,
        pixels=side * side, preview_pixels=0, fixed=fixed_by(config),
    )  # fmt: skip


def train(training: RandomTraining, side: int, steps: int) -> dict[str, Any]:
    """Peaks and the median step; an error is a figure too."""
    device, figures = training.setting.compute.device, {}
    try:
        with training.job(side) as job:
            seconds = []
            for _ in range(steps + 3):
                begun = time.perf_counter()
                job.update()
                job.settle()
                seconds.append(time.perf_counter() - begun)
        figures["ms_per_step_median"] = round(median(seconds[3:]) * 1000, 1)
    except Exception as error:  # noqa: BLE001 out of memory above all, which is what is looked for
        figures["error"] = f"{type(error).__name__}: {str(error)[:300]}"
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        figures["peak_gib"] = round(torch.cuda.max_memory_allocated(device) / GIB, 2)
        outside = total - free - torch.cuda.memory_reserved(device)
        figures["peak_gib_total"] = round((torch.cuda.max_memory_reserved(device) + outside) / GIB, 2)
    figures["recovered"] = sum("out of memory" in line for line in training.said())
    return figures


def cap(device: torch.device, card_gib: float) -> None:
    """Limit torch's allocator to what such a card leaves it."""
    torch.zeros(1, device=device)
    free, total = torch.cuda.mem_get_info(device)
    outside = total - free - torch.cuda.memory_reserved(device)
    limit = min(card_gib * GIB, total) - SCREEN_GIB * GIB - outside
    torch.cuda.set_per_process_memory_fraction(limit / total, device)


def main(arguments: list[str] | None = None) -> int:
    """Measure the cases and write them; returns how many failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=("real", "tiny"), default="real")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--cases", type=int, nargs="*", default=list(range(len(CASES))), help="numbers from 0")
    parser.add_argument("--limit", type=float, default=120, help="seconds of a case")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one is not None:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(CASES[options.one], options.size, options.device, options.steps, Path(folder))
        write_json(options.out, row)
        return 0
    rows = []
    for number in options.cases:
        rows.append(apart(number, options))
        write_json(options.out, rows)
        print(json.dumps({key: value for key, value in rows[-1].items() if key not in ("said", "choice")}), flush=True)
    return sum("error" in row for row in rows)


def apart(number: int, options: argparse.Namespace) -> dict[str, Any]:
    """A case in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "row.json"
        command = [
            sys.executable, __file__, "--one", str(number), "--out", str(out), "--size", options.size, "--device",
            options.device, "--steps", str(options.steps),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=options.limit)
        except subprocess.TimeoutExpired:
            return {"case": number, **asdict(CASES[number]), "error": f"took more than {options.limit:g} seconds"}
        if not out.is_file():
            return {"case": number, **asdict(CASES[number]), "error": done.stderr[-600:]}
        return {"case": number, **json.loads(out.read_text(encoding="utf-8"))}


if __name__ == "__main__":
    sys.exit(main())

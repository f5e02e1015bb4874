"""Holds plans against what they come to: predicted peak and time a step beside the measured ones, limit by limit.

    python benchmarks/plan_check.py --out measured/memory.json                     # one large CUDA card, 20 cases
    python benchmarks/plan_check.py --cases 3 7 --steps 5 --out /tmp/memory.json
    python benchmarks/plan_check.py --random 20 --seed 1 --out /tmp/memory.json    # random jobs: none may run out
    python benchmarks/plan_check.py --size tiny --cases 0 --out /tmp/memory.json   # a dry run on any machine

Each case has its memory limited as `advanced.vram_limit` does it, a process of its own,
and everything left to the plan that it does not set. One that fails is written down, and the others go on. Weights are
random, everything else is the product's own (`composition.py`).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from slipstream.core.environment import prepare_environment

prepare_environment()

import torch  # noqa: E402
from composition import RandomTraining, training_config  # noqa: E402
from random_model import model_size  # noqa: E402
from results import merge, revision  # noqa: E402

from slipstream.config.run_config import RunConfig  # noqa: E402
from slipstream.core.atomic import write_json  # noqa: E402
from slipstream.data.buckets import Bucket  # noqa: E402
from slipstream.memory.planner import Decision, Job, Machine, decide  # noqa: E402
from slipstream.training.device import limit_memory  # noqa: E402
from slipstream.training.keeping import tokens_of  # noqa: E402
from slipstream.training.machine import measure_machine  # noqa: E402
from slipstream.training.planning import as_planned, fixed_by, offload_percents, usual_job  # noqa: E402
from slipstream.training.setting import settle_compute  # noqa: E402

GIB = 2**30
ROOT = Path(__file__).resolve().parents[1]
USUAL = (
    "quantization.transformer=auto", "quantization.text_encoder=auto", "training.gradient_checkpointing=auto",
    "training.optimizer=adamw",
)  # fmt: skip
WARM_UPS = 3
"""Updates before those that are timed: a shape is run, captured, replayed."""


@dataclass(frozen=True)
class Case:
    """So many GiB of a GPU, a side of pictures, and settings over the usual ones."""

    limit_gib: float
    side: int
    settings: tuple[str, ...] = ()


CASES = (
    Case(7.5, 1024), Case(6, 1024), Case(11, 1024), Case(15, 1024), Case(7.5, 512), Case(7.5, 768), Case(9.5, 1024),
    Case(13, 768), Case(19, 1024), Case(23, 512), Case(23, 1024), Case(31, 1024), Case(47, 1024), Case(78, 1024),
    Case(78, 1024, ("quantization.transformer=float8",)),
    Case(15, 1024, ("quantization.transformer=float8", "quantization.layer_offloading=0")),
    Case(11, 1024, ("quantization.transformer=int8",)),
    Case(23, 1024, ("quantization.transformer=float8", "target.rank=64")),
    Case(23, 768, ("training.batch_size=2",)),
    Case(15, 1024, ("quantization.transformer=bf16", "training.optimizer=adafactor")),
)  # fmt: skip


def random_case(draw: random.Random) -> Case:
    """A job that somebody might have."""
    settings = [
        f"target.rank={draw.choice([4, 8, 16, 32, 64])}", f"training.batch_size={draw.choice([1, 1, 1, 2, 3])}",
        f"training.optimizer={draw.choice(['adamw', 'adafactor', 'came'])}",
        f"quantization.transformer={draw.choice(['auto', 'auto', 'auto', 'bf16', 'float8', 'int8', 'nf4'])}",
        f"training.gradient_checkpointing={draw.choice(['auto', 'auto', 'auto', 'full'])}",
    ]  # fmt: skip
    return Case(round(draw.uniform(6.5, 24), 1), draw.choice([512, 640, 768, 1024, 1280]), tuple(settings))


def measure(case: Case, size_name: str, device: str, steps: int, folder: Path) -> dict[str, Any]:
    """One case: plan, load, train."""
    config = training_config(folder, [*USUAL, f"job.device={device}", "sample.prompts=[]", *case.settings])
    size, compute = model_size(size_name), settle_compute(config)
    on_cuda = compute.device.type == "cuda"
    limit_memory(compute.device, case.limit_gib)
    machine = measure_machine(compute.device) if on_cuda else no_gpu(case)
    plan = decide(machine, job_of(config, case.side))
    chosen = plan.chosen
    row: dict[str, Any] = {
        "device": compute.reasons[0].removeprefix("device: ").partition(" (")[0].partition(",")[0],
        "revision": revision(), "size": size_name, "cap_gib": case.limit_gib, "resolution": case.side,
        "settings": list(case.settings), "batch": config.training.batch_size, "rank": config.target.rank,
        "free_gib": round(machine.free_bytes / GIB, 2), "tflops": round(machine.bf16_tflops),
        "pcie_gbps": round(machine.pcie_gbps, 1), "fits": chosen.fits, "plan": chosen.describe(),
        "choice": asdict(chosen.choice), "predicted_peak_gib": round(chosen.peaks["train"] / GIB, 2),
        "predicted_ms": round(chosen.seconds_per_step * 1000, 1),
    }  # fmt: skip
    planned = time.perf_counter()
    training = training_of(config, plan if on_cuda else None, size_name, folder, case.side)
    row["load_seconds"] = round(time.perf_counter() - planned, 1)
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(compute.device)
    return row | train(training, case.side // size.divide, steps) | {"said": training.said()[-14:]}


def training_of(
    config: RunConfig, plan: Decision | None, size_name: str, folder: Path, side: int
) -> RandomTraining:  # fmt: skip
    """The product's own training as the plan says."""
    compute = settle_compute(config)
    compute = compute if plan is None else as_planned(config, compute, plan)
    return RandomTraining(config, model_size(size_name), folder, compute=compute, largest=side, plan=plan)


def no_gpu(case: Case) -> Machine:
    """For dry runs."""
    free = int(case.limit_gib * GIB)
    return Machine("no GPU", (0, 0), free, free, 64 * GIB, 12.0, 1.0, float8=False)


def job_of(config: RunConfig, side: int) -> Job:
    """The usual job with a config's settings, training alone."""
    usual, rank = usual_job(), config.target.rank
    return replace(
        usual, batches=[(config.training.batch_size, tokens_of(Bucket(side, side), config), 1.0)], rank=rank,
        num_trained=usual.num_trained // usual.rank * rank, optimizer=config.training.optimizer, encodes=False,
        pixels=side * side, preview_pixels=0, offload_percents=offload_percents(config), fixed=fixed_by(config),
    )  # fmt: skip


def train(training: RandomTraining, side: int, steps: int) -> dict[str, Any]:
    """Peaks and the median step; an error is a figure too."""
    device, figures, seconds = training.setting.compute.device, {}, []
    try:
        with training.job(side) as job:
            for _ in range(steps + WARM_UPS):
                begun = time.perf_counter()
                job.update()
                job.settle()
                seconds.append(time.perf_counter() - begun)
        figures["ms_per_step_median"] = round(median(seconds[WARM_UPS:]) * 1000, 1)
        figures["steps"], figures["first_update_seconds"] = steps, round(seconds[0], 1)
    except Exception as error:  # noqa: BLE001 out of memory above all, which is what is looked for
        figures["error"] = f"{type(error).__name__}: {str(error)[:300]}"
        figures["where"] = traceback.format_exc().replace(f"{ROOT}/", "").splitlines()[-8:]
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        figures["peak_gib"] = round(torch.cuda.max_memory_allocated(device) / GIB, 2)
        outside = total - free - torch.cuda.memory_reserved(device)
        figures["peak_gib_total"] = round((torch.cuda.max_memory_reserved(device) + outside) / GIB, 2)
    figures["host_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    figures["recovered"] = sum("out of memory" in line for line in training.said())
    return figures


def main(arguments: list[str] | None = None) -> int:
    """Measure the cases and write them; returns how many failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="memory.json, in which rows of the same case give way")
    parser.add_argument("--size", choices=("real", "tiny"), default="real")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--cases", type=int, nargs="*", default=list(range(len(CASES))), help="numbers from 0")
    parser.add_argument("--random", type=int, default=0, help="instead of those, so many cases drawn at random")
    parser.add_argument("--seed", type=int, default=1, help="of these")
    parser.add_argument("--jobs", type=int, default=1, help="cases at once; more than one gives peaks, but no times")
    parser.add_argument("--limit", type=float, default=120, help="seconds of a case")
    parser.add_argument("--seconds", type=float, default=3600, help="no case is begun after this time")
    options = parser.parse_args(arguments)
    draw = random.Random(options.seed)
    cases = [random_case(draw) for _ in range(options.random)] or [CASES[number] for number in options.cases]
    end, failed = time.monotonic() + options.seconds, 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for row in pool.map(lambda case: apart(case, options, end), cases):
            failed += "error" in row
            merge(options.out, [row])
            print(json.dumps({key: row[key] for key in row if key not in ("said", "choice", "device")}), flush=True)
    return failed


def apart(case: Case, options: argparse.Namespace, end: float) -> dict[str, Any]:
    """A case in a process of its own."""
    if time.monotonic() > end:
        return _failed(case, options, "not begun: out of time")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child = multiprocessing.get_context("spawn").Process(target=_one, args=(case, options, folder))
        child.start()
        child.join(options.limit)
        if child.is_alive():
            child.kill()
            child.join()
            return _failed(case, options, f"took more than {options.limit:g} seconds")
        out = folder / "row.json"
        if not out.is_file():
            return _failed(case, options, f"ended with {child.exitcode}")
        return dict(json.loads(out.read_text(encoding="utf-8")))


def _one(case: Case, options: argparse.Namespace, folder: Path) -> None:
    try:
        row = measure(case, options.size, options.device, options.steps, folder)
        if options.jobs > 1:  # others took time and memory too
            row = {key: row[key] for key in row if key not in ("ms_per_step_median", "peak_gib_total")}
    except Exception as error:  # noqa: BLE001 - the other cases go on
        traceback.print_exc()
        row = _failed(case, options, f"{type(error).__name__}: {str(error)[:300]}")
    write_json(folder / "row.json", row)


def _failed(case: Case, options: argparse.Namespace, error: str) -> dict[str, Any]:
    return {
        "revision": revision(), "size": options.size, "cap_gib": case.limit_gib, "resolution": case.side,
        "settings": list(case.settings), "error": error,
    }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())

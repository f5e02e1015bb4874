"""What streaming blocks from host memory costs: ms per update at shares of the blocks, beside the bus's bandwidth.

    python benchmarks/streaming.py --out streaming.json                        # bf16 and float8, one CUDA card
    python benchmarks/streaming.py --modes float8 --percents 0 100 --out streaming.json
    python benchmarks/streaming.py --size tiny --device cpu --modes float8 --out /tmp/streaming.json    # a dry run

Random weights; update, composition and plans are the product's own (`composition.py`). Every pair of a mode and a share
runs in a process of its own, so that its peak is its own and one that fails leaves the others alone; the file is
written after each. Nothing else should run on the machine: copies share the bus and the host's memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from slipstream.core.environment import prepare_environment

prepare_environment()

import torch  # noqa: E402
from composition import RandomTraining, training_config  # noqa: E402
from random_model import model_size  # noqa: E402
from results import revision  # noqa: E402

from slipstream.core.atomic import write_json  # noqa: E402

GIB = 2**30
BUS_BYTES = 2**28


def bandwidth(device: torch.device, repeats: int = 10) -> float | None:
    """GiB/s of copies from pinned memory to the GPU, the best of some; None without one."""
    if device.type != "cuda":
        return None
    source = torch.empty(BUS_BYTES, dtype=torch.uint8, pin_memory=True)
    target = torch.empty(BUS_BYTES, dtype=torch.uint8, device=device)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    times = []
    for _ in range(repeats):
        begin.record()
        target.copy_(source, non_blocking=True)
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return round(BUS_BYTES / GIB / min(times) * 1000, 2)


def overrides(options: argparse.Namespace, mode: str, percent: int) -> list[str]:
    """Settings of one training."""
    products = ["quantization.compute_dtype=float8"] if mode == "float8" else []
    return [
        f"quantization.transformer={mode}", *products, f"quantization.layer_offloading={percent}",
        f"job.device={options.device}", f"target.rank={options.rank}", "training.optimizer=adamw",
        f"training.gradient_checkpointing={options.checkpointing}", *options.set,
    ]  # fmt: skip


def measure(options: argparse.Namespace, mode: str, percent: int) -> list[dict[str, Any]]:
    """Two rows for every resolution on CUDA, with graphs and without."""
    size, rows = model_size(options.size), []
    with tempfile.TemporaryDirectory() as folder:
        training = RandomTraining(training_config(Path(folder), overrides(options, mode, percent)), size, Path(folder))
        device = training.setting.compute.device
        facts = {
            "device": training.setting.compute.reasons[0].removeprefix("device: ").partition(",")[0],
            "revision": revision(), "mode": mode, "percent": percent, "size": options.size, "batch": 1,
            "rank": options.rank, "checkpointing": options.checkpointing, "bus_gib_per_second": bandwidth(device),
            "said": [line for line in training.said() if line.startswith(("layer offloading", "training adapter"))],
        }  # fmt: skip
        for resolution in options.resolutions:
            for graphs in (True, False) if device.type == "cuda" else (False,):
                row = facts | {"resolution": resolution, "graphs": graphs}
                try:
                    rows.append(row | timed(training, resolution // size.divide, options, graphs=graphs))
                except Exception as error:  # noqa: BLE001 - the other resolutions go on
                    rows.append(row | {"error": f"{type(error).__name__}: {str(error)[:300]}"})
    return rows


def timed(training: RandomTraining, side: int, options: argparse.Namespace, *, graphs: bool) -> dict[str, Any]:
    """Median time of an update, what it copied, and the peak."""
    device = training.setting.compute.device
    cuda, streamed = device.type == "cuda", None
    if training.adapted.fast is not None:
        streamed = training.adapted.fast.stack.streamed
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    times, copies = [], 0
    with training.job(side, graphs=graphs) as job:
        for number in range(options.warm_ups + options.steps):
            before = streamed.ring.num_copies if streamed is not None and streamed.ring is not None else 0
            wait(device)
            started = time.perf_counter()
            job.update()
            job.settle()
            wait(device)
            if number >= options.warm_ups:
                times.append((time.perf_counter() - started) * 1000)
            if streamed is not None and streamed.ring is not None and streamed.ring.num_copies > before:
                copies = streamed.ring.num_copies - before  # a replayed graph copies without being counted
    offloading = training.setting.offloading
    of_block = offloading.num_bytes / max(1, len(offloading.streaming.blocks))
    found: dict[str, Any] = {
        "ms_per_step_median": round(median(times), 2), "ms_per_step_least": round(min(times), 2), "steps": len(times),
        "blocks": len(offloading.streaming.blocks), "copies_per_step": copies,
        "gib_copied_per_step": round(copies * of_block / GIB, 2), "host_gib": round(offloading.num_bytes / GIB, 2),
    }  # fmt: skip
    if cuda:
        found["peak_gib"] = round(torch.cuda.max_memory_allocated(device) / GIB, 2)
        found["reserved_gib"] = round(torch.cuda.max_memory_reserved(device) / GIB, 2)
    return found


def wait(device: torch.device) -> None:
    """Until the device has done everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Updates with blocks that stream from host memory.")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results")
    parser.add_argument("--size", choices=("real", "tiny"), default="real", help="size of the random model")
    parser.add_argument("--device", default="auto", help="as in job.device")
    parser.add_argument("--modes", nargs="+", default=["float8", "bf16"], help="as in quantization.transformer")
    parser.add_argument("--percents", type=int, nargs="+", default=[0, 50, 100])
    parser.add_argument("--resolutions", type=int, nargs="+", default=[1024, 512])
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--checkpointing", default="none", help="as in training.gradient_checkpointing")
    parser.add_argument("--set", nargs="*", default=[], help="further settings")
    parser.add_argument("--steps", type=int, default=10, help="timed updates of each measurement")
    parser.add_argument("--warm-ups", type=int, default=4, help="updates before those")
    parser.add_argument("--timeout", type=float, default=180, help="seconds for one mode and share")
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def in_a_process(arguments: list[str], mode: str, percent: int, seconds: float) -> list[dict[str, Any]]:
    """The rows of one mode and share, or one with the error."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        command = [sys.executable, __file__, *arguments, "--out", str(out), "--only", mode, str(percent)]
        try:
            done = subprocess.run(command, timeout=seconds, capture_output=True, text=True)
        except subprocess.TimeoutExpired:
            return [{"mode": mode, "percent": percent, "error": f"took more than {seconds:g} s"}]
        if out.is_file():
            return list(json.loads(out.read_text(encoding="utf-8")))
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return [{"mode": mode, "percent": percent, "error": last[0][:300]}]


def main(arguments: list[str] | None = None) -> int:
    """Measure; returns how many measurements failed."""
    options = parse(arguments)
    if options.only is not None:
        mode, percent = options.only
        write_json(options.out, measure(options, mode, int(percent)))
        return 0
    options.out.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for mode in options.modes:
        for percent in options.percents:
            given = sys.argv[1:] if arguments is None else arguments
            rows += in_a_process(given, mode, percent, options.timeout)
            write_json(options.out, rows)
            for row in rows[-2 * len(options.resolutions) :]:
                if (row.get("mode"), row.get("percent")) == (mode, percent):
                    print("  ".join(f"{key} {row[key]}" for key in SHOWN if key in row), flush=True)
    return sum("error" in row for row in rows)


SHOWN = (
    "mode", "percent", "resolution", "graphs", "ms_per_step_median", "peak_gib", "gib_copied_per_step",
    "bus_gib_per_second", "error",
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())

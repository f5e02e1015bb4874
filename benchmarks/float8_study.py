"""Whether float8 products learn as much as full precision: held-out loss of the style example on the tiny family.

    python benchmarks/float8_study.py --out benchmarks/results/float8_tiny.json

Every seed trains `examples/style.yaml` (training adapter active) three times on the same data, noise and noise levels:
dense weights, float8 weights whose products are in full precision, and float8 weights whose products are float8 too
(on the CPU in fp32 arithmetic on float8 operands). The loss is the product's own validation, measured with the weights
and products of the training; the LoRA that learned with float8 products is also measured beside dense weights.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from slipstream.core.atomic import write_json
from slipstream.runs.layout import RunDir
from slipstream.runs.validation import read_rows

STYLE = Path(__file__).resolve().parents[1] / "examples" / "style.yaml"
FULL = "fp32" if not torch.cuda.is_available() else "bf16"
PRODUCTS = "float8 weights and products"
WAYS = {
    "dense weights": ("quantization.transformer=auto",),
    "float8 weights": ("quantization.transformer=float8", "quantization.compute_dtype=bf16"),
    PRODUCTS: ("quantization.transformer=float8", "quantization.compute_dtype=float8"),
}


@dataclass(frozen=True)
class Options:
    """What to train."""

    out: Path
    steps: int
    seeds: tuple[int, ...]


def parse() -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(description="Trains the style example with and without float8 products.")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the result")
    parser.add_argument("--steps", type=int, default=300, help="updates of each training")
    parser.add_argument("--seeds", type=int, nargs="+", default=(1, 2, 3))
    options = parser.parse_args()
    return Options(options.out, options.steps, tuple(options.seeds))


def train(way: str, seed: int, steps: int, folder: Path) -> dict[str, Any]:
    """One training: its held-out loss by step, the loss of its LoRA beside dense weights, and its seconds."""
    name = f"{way.replace(' ', '_')}_{seed}"
    started = time.monotonic()
    losses = held_out(name, folder, (f"job.seed={seed}", f"training.steps={steps}", *WAYS[way]))
    run = {"seed": seed, "way": way, "losses": losses, "seconds": round(time.monotonic() - started, 1)}
    if way == PRODUCTS:
        start = f"target.start_from={RunDir(folder / name).lora}"
        again = held_out(f"{name}_dense", folder, (f"job.seed={seed}", "training.steps=1", start))
        run["loss_beside_dense_weights"] = again["0"]
    print(run, flush=True)
    return run


def held_out(name: str, folder: Path, settings: tuple[str, ...]) -> dict[str, float]:
    """The validation's loss by step of a training with these settings."""
    fixed = (
        f"job.name={name}", f"job.output_dir={folder}", "training.validation={fraction: 0.25, every: 150}",
        "sample.prompts=[]", "save.every=0", "advanced.tensorboard=false",
    )  # fmt: skip
    command = [sys.executable, "-m", "slipstream.cli.app", "train", str(STYLE), *fixed, *settings]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return {str(int(row["step"])): round(row["loss"], 6) for row in read_rows(RunDir(folder / name).validation)}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The last loss by way, and how it differs from that of dense weights seed by seed."""
    ends = {way: [last(run) for run in runs if run["way"] == way] for way in WAYS}
    ends["LoRA of float8 products, beside dense weights"] = [
        run["loss_beside_dense_weights"] for run in runs if run["way"] == PRODUCTS
    ]
    dense = ends["dense weights"]
    return {
        way: {
            "losses": losses,
            "mean": round(mean(losses), 6),
            "spread_of_seeds": round(stdev(losses), 6) if len(losses) > 1 else None,
            "mean_difference_to_dense": round(mean(a - b for a, b in zip(losses, dense, strict=True)), 6),
        }
        for way, losses in ends.items()
    }


def last(run: dict[str, Any]) -> float:
    """The loss at the end of a training."""
    return float(list(run["losses"].values())[-1])


def main() -> None:
    """Train, write and print."""
    options = parse()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in options.seeds:
            runs += [train(way, seed, options.steps, Path(folder)) for way in WAYS]
    result = {"steps": options.steps, "full_precision": FULL, "summary": summary(runs), "runs": runs}
    write_json(options.out, result)
    for way, figures in result["summary"].items():
        print(f"{way:50s} {figures}")


if __name__ == "__main__":
    main()

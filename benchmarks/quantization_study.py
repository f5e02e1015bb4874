"""Whether a LoRA learns as much beside quantized weights: held-out loss of the style example on the tiny family.

    python benchmarks/quantization_study.py --out benchmarks/results/quantization_tiny.json

Every seed trains `examples/style.yaml` with its training adapter in each way below, on the same data, noise and noise
levels. A way is a format of the weights, the precision of their products, and where the training adapter is: a live
branch beside the weights, or merged into them before they are packed. Float8 products are emulated on the CPU, in fp32
arithmetic on float8 operands.

The loss is the product's own validation, with the weights and products of the training. Every LoRA is also measured
beside dense weights, which says what it learned, without what the rounding adds to the prediction.

Runs that the file has already are not repeated, so a study that was cut short goes on where it ended.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from results import revision
from safetensors.torch import load_file, save_file

from slipstream.adapters.files import load_lora
from slipstream.core.atomic import write_json
from slipstream.models.z_image.resolve import TINY_ROOT, resolve_adapter
from slipstream.runs.layout import RunDir
from slipstream.runs.validation import read_rows

STYLE = Path(__file__).resolve().parents[1] / "examples" / "style.yaml"
ADAPTER = "tiny/adapters/training_adapter_v2.safetensors"
FULL = "fp32" if not torch.cuda.is_available() else "bf16"


@dataclass(frozen=True)
class Way:
    """One row of the study.

    Attributes:
        weights: as in `quantization.transformer`.
        float8_products: whether both operands of the frozen products are float8; the product merges the adapter then.
        merged: the model's file has the training adapter in its weights, before they are packed.
    """

    weights: str
    float8_products: bool = False
    merged: bool = False

    @property
    def name(self) -> str:
        """As the results have it."""
        weights = "dense weights" if self.weights == "auto" else f"{self.weights} weights"
        products = " and products" if self.float8_products else ""
        return f"{weights}{products}, adapter {'merged' if self.merged or self.float8_products else 'live'}"

    def settings(self, merged_model: Path) -> tuple[str, ...]:
        """Changes to the style example's config."""
        chosen = [f"quantization.transformer={self.weights}"]
        if self.weights == "float8":
            chosen.append(f"quantization.compute_dtype={'float8' if self.float8_products else 'bf16'}")
        if self.merged:
            chosen += [f"model.name_or_path={merged_model}", "model.extras_from=tiny/turbo"]
            chosen.append("model.training_adapter=none")
        return tuple(chosen)


DENSE = Way("auto")
WAYS = (
    DENSE, Way("float8"), Way("float8", merged=True), Way("float8", float8_products=True), Way("int8"),
    Way("int8", merged=True), Way("nf4"), Way("nf4", merged=True),
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What to train."""

    out: Path
    steps: int
    seeds: tuple[int, ...]
    ways: tuple[Way, ...]


def parse(arguments: list[str] | None) -> Options:
    """The command line."""
    names = [way.name for way in WAYS]
    parser = argparse.ArgumentParser(description="Trains the style example beside weights of every format.")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the result")
    parser.add_argument("--steps", type=int, default=300, help="updates of each training")
    parser.add_argument("--seeds", type=int, nargs="+", default=(1, 2, 3))
    parser.add_argument("--ways", nargs="+", choices=names, default=names, metavar="WAY", help=" | ".join(names))
    options = parser.parse_args(arguments)
    return Options(
        options.out, options.steps, tuple(options.seeds), tuple(way for way in WAYS if way.name in options.ways)
    )


def merged_model(folder: Path) -> Path:
    """A transformer of tiny/turbo with the training adapter in its weights, in fp32, so that only packing rounds."""
    source = TINY_ROOT / "turbo" / "transformer"
    target = folder / "merged" / "transformer"
    target.mkdir(parents=True)
    shutil.copy(source / "config.json", target)
    (path,) = source.glob("*.safetensors")
    weights = {key: weight.float() for key, weight in load_file(path).items()}
    for name, tensors in load_lora(resolve_adapter(ADAPTER)).modules.items():
        down, up = (tensors[f"lora_{letter}.weight"].float() for letter in "AB")
        weights[f"{name}.weight"] += up @ down
    save_file(weights, target / path.name, metadata={"format": "pt"})
    return target.parent


def train(way: Way, seed: int, steps: int, folder: Path, model: Path) -> dict[str, Any]:
    """One training: its held-out loss by step, the loss of its LoRA beside dense weights, and its seconds."""
    name = f"{way.name.replace(', ', ' ').replace(' ', '_')}_{seed}"
    started = time.monotonic()
    losses = held_out(name, folder, (f"job.seed={seed}", f"training.steps={steps}", *way.settings(model)))
    run = {"seed": seed, "way": way.name, "losses": losses, "seconds": round(time.monotonic() - started, 1)}
    if way != DENSE:
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
    """By way: the last losses by seed, as trained and beside dense weights, and how they differ from dense training.

    A difference is taken seed by seed; its own spread says whether it is more than chance.
    """
    dense = {run["seed"]: last(run) for run in runs if run["way"] == DENSE.name}
    found: dict[str, Any] = {}
    for way in dict.fromkeys(run["way"] for run in runs):
        own = sorted((run for run in runs if run["way"] == way), key=lambda run: int(run["seed"]))
        trained = [(last(run), run["seed"]) for run in own]
        found[way] = {"seeds": [run["seed"] for run in own], **figures(trained, dense)}
        if way != DENSE.name:
            beside = [(float(run["loss_beside_dense_weights"]), run["seed"]) for run in own]
            found[way]["beside_dense_weights"] = figures(beside, dense)
    return found


def figures(losses: list[tuple[float, int]], dense: dict[int, float]) -> dict[str, Any]:
    """Losses with their seeds: mean, spread, and differences to the dense loss of the same seed."""
    values = [loss for loss, _ in losses]
    differences = [round(loss - dense[seed], 6) for loss, seed in losses if seed in dense]
    return {
        "losses": values, "mean": round(mean(values), 6), "spread_of_seeds": spread(values),
        "differences_to_dense": differences, "mean_difference": round(mean(differences), 6) if differences else None,
        "spread_of_differences": spread(differences),
    }  # fmt: skip


def spread(values: list[float]) -> float | None:
    """Standard deviation, of at least two values."""
    return round(stdev(values), 6) if len(values) > 1 else None


def last(run: dict[str, Any]) -> float:
    """The loss at the end of a training."""
    return float(list(run["losses"].values())[-1])


def known_runs(options: Options) -> list[dict[str, Any]]:
    """The runs that the file has; refuses those of another length."""
    if not options.out.is_file():
        return []
    before = json.loads(options.out.read_text(encoding="utf-8"))
    if before["steps"] != options.steps:
        raise SystemExit(
            f"{options.out} has runs of {before['steps']} updates, --steps is {options.steps}: take another file"
        )
    return list(before["runs"])


def main(arguments: list[str] | None = None) -> None:
    """Train, write after every training, and print."""
    options = parse(arguments)
    runs = known_runs(options)
    done = {(run["way"], run["seed"]) for run in runs}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = merged_model(folder)
        for seed in options.seeds:
            for way in options.ways:
                if (way.name, seed) not in done:
                    runs.append(train(way, seed, options.steps, folder, model))
                    write(options, runs)
    for name, found in summary(runs).items():
        print(f"{name:45s} {found}")


def write(options: Options, runs: list[dict[str, Any]]) -> None:
    """The file with all runs so far."""
    facts = {"steps": options.steps, "full_precision": FULL, "torch": torch.__version__, "revision": revision()}
    write_json(options.out, facts | {"summary": summary(runs), "runs": runs})


if __name__ == "__main__":
    main()

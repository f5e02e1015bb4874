"""What a larger batch gives, what keeping fewer activations costs, and what captions of unequal length cost.

    python benchmarks/batch_scaling.py --out batch_scaling.json                          # one CUDA card, bf16
    python benchmarks/batch_scaling.py --mode float8 --parts batches --out scaling.json
    python benchmarks/batch_scaling.py --size tiny --out /tmp/scaling.json               # a dry run on any machine

Random weights; update, composition and plans are the product's own (`composition.py`). A measurement that fails is
written down with its error and the others go on; the file is written after each.

- batches: ms per sample at batch 1, 2 and 4, with CUDA graphs where they are used.
- budgets: ms per update at the largest resolution with `training.gradient_checkpointing` at several amounts, every
  kernel launched by itself, and the peak beside the planned one.
- unequal: forward and backward pass of two samples with captions of one length and of two.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from slipstream.core.environment import prepare_environment

prepare_environment()

import torch  # noqa: E402
from composition import RandomTraining, noise, training_config  # noqa: E402
from random_model import model_size  # noqa: E402
from results import revision  # noqa: E402

from slipstream.core.atomic import write_json  # noqa: E402
from slipstream.data.buckets import Bucket  # noqa: E402
from slipstream.previews.render import LATENT_CHANNELS  # noqa: E402
from slipstream.training.build import trained_predictor  # noqa: E402
from slipstream.training.keeping import Keeping, choose_keeping  # noqa: E402

GIB = 2**30
LATENT_DOWNSCALE = 8


class Scaling:
    """One training, and the file that its figures go to."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        overrides = [
            f"quantization.transformer={options.mode}", f"job.device={options.device}", "target.rank=16",
            "training.optimizer=adamw", "training.gradient_checkpointing=none",
        ]  # fmt: skip
        size = model_size(options.size)
        self.divide = size.divide
        self.training = RandomTraining(training_config(folder, overrides), size, folder)
        self.device = self.training.setting.compute.device
        self.cuda = self.device.type == "cuda"
        self.rows: list[dict[str, Any]] = []
        self.report = {
            "device": self.training.setting.compute.reasons[0].removeprefix("device: "), "torch": torch.__version__,
            "revision": revision(), "mode": options.mode, "size": options.size, "said": self.training.said(),
            "rows": self.rows,
        }  # fmt: skip

    def note(self, row: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> None:
        """A measurement, or its error, under what `row` says it is of."""
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            row |= measure()
            if self.cuda:
                row["peak_gib"] = round(torch.cuda.max_memory_allocated(self.device) / GIB, 2)
                row["reserved_gib"] = round(torch.cuda.max_memory_reserved(self.device) / GIB, 2)
        except Exception as error:  # noqa: BLE001 - the other measurements go on
            row["error"] = f"{type(error).__name__}: {str(error)[:300]}"
        self.rows.append(row)
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        write_json(self.options.out, self.report)

    def wait(self) -> None:
        """Until the device has done everything."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def set(self, **changes: Any) -> None:
        """Change settings of the training panel."""
        config = self.training.setting.config
        panel = config.training.model_copy(update=changes)
        config = config.model_copy(update={"training": panel})
        self.training.setting = replace(self.training.setting, config=config)

    def keep(self, side: int, *, graphs: bool) -> Keeping:
        """Plan what blocks keep for squares of this side, and let them keep it."""
        setting, adapted = self.training.setting, self.training.adapted
        parameters = sum(parameter.numel() for parameter in adapted.lora.parameters())
        keeping = choose_keeping(
            setting.config, setting.compute, adapted.transformer, parameters, [Bucket(side, side)],
            is_fused=adapted.fast is not None,
        )  # fmt: skip
        keeping = keeping if graphs else replace(keeping, graph_tokens=0)
        if adapted.fast is not None:
            adapted.fast.keep(keeping)
        self.training.adapted = replace(adapted, keeping=keeping)
        return keeping

    def update_ms(self, side: int) -> float:
        """Median time of an update on squares of this side."""
        times = []
        with self.training.job(side) as job:
            for number in range(self.options.warm_ups + self.options.steps):
                self.wait()
                started = time.perf_counter()
                job.update()
                job.settle()
                self.wait()
                if number >= self.options.warm_ups:
                    times.append((time.perf_counter() - started) * 1000)
        return median(times)

    def batches(self) -> None:
        """Batch sizes times resolutions, smallest first."""
        for resolution in self.options.resolutions:
            for batch in self.options.batches:
                side = resolution // self.divide

                def measure(side: int = side, batch: int = batch) -> dict[str, Any]:
                    self.set(batch_size=batch)
                    self.keep(side, graphs=True)
                    found = self.update_ms(side)
                    return {"ms_per_step_median": round(found, 2), "ms_per_sample": round(found / batch, 2)}

                self.note({"part": "batches", "resolution": resolution, "batch": batch}, measure)
        self.set(batch_size=1)

    def budgets(self) -> None:
        """Amounts of memory for activations, from all to none."""
        resolution = max(self.options.resolutions)
        side = resolution // self.divide
        for mode in self.options.budgets:

            def measure(mode: str = mode) -> dict[str, Any]:
                self.set(gradient_checkpointing=mode)
                lines = self.keep(side, graphs=False).lines
                return {"ms_per_step_median": round(self.update_ms(side), 2), "plan": lines[-1] if lines else mode}

            self.note({"part": "budgets", "resolution": resolution, "batch": 1, "budget": mode}, measure)
        self.set(gradient_checkpointing="none")

    def unequal(self) -> None:
        """Two samples with captions of one length, and with the same number of tokens in two lengths."""
        adapted = self.training.adapted
        predict = trained_predictor(adapted, adapted.keeping.run)
        sigma = torch.tensor([0.3, 0.7], device=self.device)
        width = adapted.transformer.config.cap_feat_dim  # type: ignore[union-attr]
        for resolution in self.options.resolutions:
            side = resolution // self.divide
            self.keep(side, graphs=False)
            cells = side // LATENT_DOWNSCALE
            noisy = noise(2, LATENT_CHANNELS, cells, cells, seed=1).to(self.device)
            for lengths in ((128, 128), (64, 192)):
                texts = [noise(length, width, seed=length) for length in lengths]

                def measure(texts: Iterable[torch.Tensor] = texts, noisy: Any = noisy) -> dict[str, Any]:
                    times = []
                    for number in range(self.options.warm_ups + self.options.steps):
                        self.wait()
                        started = time.perf_counter()
                        predict(noisy, sigma, list(texts)).square().mean().backward()
                        self.wait()
                        if number >= self.options.warm_ups:
                            times.append((time.perf_counter() - started) * 1000)
                    return {"ms_forward_backward": round(median(times), 2)}

                self.note({"part": "unequal", "resolution": resolution, "batch": 2, "captions": list(lengths)}, measure)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Batch sizes, budgets of activations, captions of unequal length.")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results")
    parser.add_argument("--size", choices=("real", "tiny"), default="real", help="size of the random model")
    parser.add_argument("--device", default="auto", help="as in job.device")
    parser.add_argument("--mode", default="bf16", help="as in quantization.transformer")
    parser.add_argument("--parts", nargs="+", default=["batches", "budgets", "unequal"], help="what to measure")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[512, 768, 1024])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument(
        "--budgets", nargs="+", default=["none", "13 GiB", "12 GiB", "8 GiB", "5 GiB", "3 GiB", "full"],
        help="as in training.gradient_checkpointing",
    )  # fmt: skip
    parser.add_argument("--steps", type=int, default=10, help="timed updates of each measurement")
    parser.add_argument("--warm-ups", type=int, default=3, help="updates before those")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure; returns how many measurements failed."""
    options = parse(arguments)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        scaling = Scaling(options, Path(folder))
        for line in scaling.report["said"]:
            print(f"  {line}", flush=True)
        for part in options.parts:
            getattr(scaling, part)()
    return sum("error" in row for row in scaling.rows)


if __name__ == "__main__":
    sys.exit(main())

"""What every kind of LoRA learns in a short training of tiny/turbo on examples/foxy_style, and how large it is.

    python benchmarks/kinds.py --steps 60 --out benchmarks/results/kinds_tiny_cpu.json

The loss is measured on 96 fixed draws of picture, noise and noise level, before (the same for all) and after.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import torch
from minimal_loop import LEVELS, SEED, TARGETS, encode_everything, load_data

from slipstream.adapters.files import save_lora
from slipstream.adapters.inject import inject_fresh, select_targets
from slipstream.adapters.kinds import Recipe
from slipstream.adapters.training_adapter import attach_training_adapter
from slipstream.core.atomic import write_json
from slipstream.data.sampler import BucketSampler
from slipstream.models.z_image.family import ADAPTER_ROOT, ZImage, predictor
from slipstream.models.z_image.resolve import resolve_adapter, resolve_parts
from slipstream.objectives.velocity import velocity_loss
from slipstream.training.draws import draw_step

BATCH, EVALUATIONS, FAR = 2, 48, 100_000
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """One row: a kind with its settings."""

    name: str
    recipe: Recipe
    lora_plus_ratio: float | None = None


CASES = (
    Case("lora, rank 16", Recipe("lora", 16, 16.0)),
    Case("lora, rank 16, orthogonal", Recipe("lora", 16, 16.0, init="orthogonal")),
    Case("lora, rank 16, pissa", Recipe("lora", 16, 16.0, init="pissa")),
    Case("lora, rank 16, lora_plus_ratio 4", Recipe("lora", 16, 16.0), 4.0),
    Case("dora, rank 16", Recipe("dora", 16, 16.0)),
    Case("loha, rank 8", Recipe("loha", 8, 8.0)),
    Case("lokr, rank 16", Recipe("lokr", 16, 16.0)),
    Case("lokr, factor 8, whole", Recipe("lokr", 16, 16.0, lokr_factor=8, lokr_full_rank=True)),
    Case("oft, blocks of 16", Recipe("oft", 16, 0.0)),
)


class Bench:
    """The model, the data, and a loss that only depends on the step it is asked for."""

    def __init__(self) -> None:
        self.model = ZImage(resolve_parts("tiny/turbo", "tiny/turbo"), CPU, torch.float32, torch.float32)
        self.dataset = load_data()
        self.latents, self.texts = encode_everything(self.model, self.dataset)
        self.sampler = BucketSampler(self.dataset, BATCH, SEED)

    def loss(self, transformer: torch.nn.Module, step: int) -> torch.Tensor:
        """The velocity loss of one batch; the same step meets the same noise."""
        draws = self.sampler.draw(step)
        clean = torch.stack([self.latents[draw.example_index] for draw in draws])
        texts = [self.texts[self.dataset.examples[draw.example_index].caption] for draw in draws]
        noise, sigma = draw_step(seed=SEED, step=step, first_sample=0, like_BCHW=clean, levels=LEVELS)
        predict = predictor(transformer)
        return velocity_loss(
            lambda noisy, sigma_B: predict(noisy, sigma_B, texts), clean, noise, sigma,
            timestep_type=LEVELS.timestep_type,
        ).loss  # fmt: skip

    @torch.no_grad()
    def measure(self, transformer: torch.nn.Module) -> float:
        """The loss on draws that no training step meets."""
        return mean(self.loss(transformer, FAR + number).item() for number in range(EVALUATIONS))


def run(bench: Bench, case: Case, rate: float, steps: int) -> dict[str, float | str]:
    """Train one case and say what came of it."""
    transformer = bench.model.load_transformer()
    attach_training_adapter(transformer, resolve_adapter("tiny/adapters/training_adapter_v2.safetensors"))
    names = select_targets(transformer, ADAPTER_ROOT, TARGETS)
    lora = inject_fresh(transformer, names, case.recipe, seed=SEED)
    groups = lora.parameter_groups(lora_plus_ratio=case.lora_plus_ratio)
    optimizer = torch.optim.AdamW(
        [{"params": group.parameters, "lr": rate * group.lr_factor} for group in groups], weight_decay=1e-4
    )
    before = bench.measure(transformer)
    for step in range(steps):
        optimizer.zero_grad(set_to_none=True)
        bench.loss(transformer, step).backward()
        torch.nn.utils.clip_grad_norm_(lora.parameters(), 1.0)
        optimizer.step()
    with tempfile.TemporaryDirectory() as folder:
        save_lora(Path(folder) / "a.safetensors", lora, torch.bfloat16, {})
        size = (Path(folder) / "a.safetensors").stat().st_size
    return {
        "case": case.name, "learning_rate": rate, "parameters": sum(p.numel() for p in lora.parameters()),
        "file_kib": round(size / 1024), "loss_before": round(before, 4),
        "loss_after": round(bench.measure(transformer), 4),
    }  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-4, 2e-3, 8e-3])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    bench = Bench()
    rows = []
    for case in CASES:
        for rate in arguments.rates:
            rows.append(run(bench, case, rate, arguments.steps))
            print(json.dumps(rows[-1]), flush=True)
    if arguments.out is not None:
        write_json(arguments.out, {"steps": arguments.steps, "batch": BATCH, "torch": torch.__version__, "rows": rows})


if __name__ == "__main__":
    main()

"""The phenomenon, measured with the product's own commands: what a LoRA does to Turbo's eight steps.

    python recipes/tiny_family/drift_table.py --data recipes/tiny_family/build/emoji.zip --out drift

Every variant trains a LoRA (`slipstream train`) on the same 60 pictures of a style the base knows, with the same seeds
and steps. Then Turbo with each LoRA draws unrelated prompts at 8 steps, guidance 0 (`slipstream sample`), and the
judge compares them with Turbo's own pictures of the same prompts and seeds. Writes drift_STEPS.json, a table and a
grid. Started again it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from artwork import Artwork, caption_for, composite, load_artwork
from commands import draw, save_grid, seeds_table, slipstream
from PIL import Image
from torch import Tensor

from slipstream.evaluation.frechet import frechet_distance
from slipstream.evaluation.judge import Judge, load_judge
from slipstream.evaluation.sharpness import relative_sharpness
from slipstream.models.z_image.resolve import TINY_ROOT

CONTROL_STYLE = "twemoji"
VARIANTS = {
    "Turbo, naive": ("model.variant=turbo", "model.name_or_path=tiny/turbo", "model.training_adapter=none"),
    "Turbo + adapter v1": ("model.variant=turbo", "model.name_or_path=tiny/turbo", "model.training_adapter=v1"),
    "Turbo + adapter v2": ("model.variant=turbo", "model.name_or_path=tiny/turbo", "model.training_adapter=v2"),
    "De-Turbo": ("model.variant=de_turbo", "model.name_or_path=tiny/de-turbo"),
    "Base": ("model.variant=base", "model.name_or_path=tiny/base"),
}
CONFIG = """\
job: {name: drift}
model: {variant: turbo}
training: {batch_size: 2, optimizer: adamw, learning_rate: 1.0e-3, text_encoder: cache}
save: {every: 0}
sample: {prompts: [], at_start: false}
datasets: [{path: control, resolutions: [128], caption_dropout: 0.0}]
advanced: {tensorboard: false}
"""


@dataclass(frozen=True)
class Probe:
    """What every variant is measured on."""

    out: Path
    judge: Judge
    concepts: list[int]
    reference: Tensor


def write_inputs(art: Artwork, out: Path, num_prompts: int) -> list[int]:
    """The control set, the unrelated prompts and the config; returns the prompts' concepts."""
    order = torch.randperm(len(art.style), generator=torch.Generator().manual_seed(1))
    usable = order[art.seen[order]]
    control = art.style[usable] == art.styles.index(CONTROL_STYLE)
    folder = out / "control"
    folder.mkdir(parents=True, exist_ok=True)
    for row in usable[control][:60].tolist():
        pixels = composite(art.rgba[row : row + 1], torch.ones(1, 3), (128, 128), torch.tensor([0.94]))[0]
        array = ((pixels * 0.5 + 0.5).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(array).save(folder / f"{row:05d}.png")
        (folder / f"{row:05d}.txt").write_text(caption(art, row) + "\n", encoding="utf-8")
    rows = usable[~control][:num_prompts].tolist()
    (out / "prompts.txt").write_text("".join(caption(art, row) + "\n" for row in rows), encoding="utf-8")
    (out / "drift.yaml").write_text(CONFIG, encoding="utf-8")
    return [int(art.concept[row]) for row in rows]


def caption(art: Artwork, row: int) -> str:
    """The plain caption of a drawing on white."""
    return caption_for(art.concepts[art.concept[row]], art.styles[art.style[row]], "white", 0)


def figures(probe: Probe, images: Tensor) -> dict[str, float]:
    """Concepts right, sharpness against Turbo without LoRA, Frechet distance of judge features to it."""
    right = (probe.judge.concept_logits(images).argmax(1) == torch.tensor(probe.concepts)).float().mean()
    distance = frechet_distance(probe.judge.features(images), probe.judge.features(probe.reference))
    return {"right": float(right), "sharpness": relative_sharpness(images, probe.reference), "frechet": distance}


def measure(
    probe: Probe, name: str, settings: tuple[str, ...], seed: int, steps: int
) -> tuple[dict[str, float], Tensor]:
    """Train one LoRA and measure Turbo with it."""
    run = f"{name.lower().replace(' ', '_').replace(',', '').replace('+', 'and')}_{steps}_seed_{seed}"
    if not (probe.out / f"runs/{run}/{run}.safetensors").exists():
        settings = (f"job.name={run}", f"job.seed={seed}", f"training.steps={steps}", *settings)
        slipstream(probe.out, "train", "drift.yaml", *settings)
    images = draw(probe.out, f"samples_{run}", "prompts.txt", f"runs/{run}")
    return figures(probe, images), images


def table(results: dict[str, list[dict[str, float]]], steps: int) -> str:
    """Markdown: one row a variant, each cell the mean and the seeds."""
    heading = f"| LoRA trained on ({steps} steps) | concepts right | sharpness | Frechet distance to Turbo |"
    return seeds_table(heading, {"right": "{:.0%}", "sharpness": "{:.2f}", "frechet": "{:.2f}"}, results)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=256)
    arguments = parser.parse_args()
    out: Path = arguments.out.resolve()
    art = load_artwork(arguments.data, torch.device("cpu"))
    concepts = write_inputs(art, out, arguments.prompts)
    reference = draw(out, "samples_turbo", "prompts.txt")
    probe = Probe(out, load_judge(TINY_ROOT / "judge"), concepts, reference)
    results: dict[str, Any] = {"Turbo without LoRA": [figures(probe, reference)]}
    rows = [reference]
    for name, settings in VARIANTS.items():
        results[name] = []
        for seed in range(arguments.seeds):
            measured, images = measure(probe, name, settings, seed, arguments.steps)
            results[name].append(measured)
            print(name, seed, {key: round(value, 3) for key, value in measured.items()}, flush=True)
            if seed == 0:
                rows.append(images)
        (out / f"drift_{arguments.steps}.json").write_text(
            json.dumps({"steps": arguments.steps, "prompts": len(concepts), "results": results}, indent=2) + "\n"
        )
    (out / f"drift_{arguments.steps}.md").write_text(table(results, arguments.steps), encoding="utf-8")
    save_grid(rows, out / f"drift_{arguments.steps}.webp")
    print(table(results, arguments.steps))


if __name__ == "__main__":
    main()

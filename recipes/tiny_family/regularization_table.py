"""What keeps a LoRA to its trigger word: preservation, regularization sets and guidance, measured.

    python recipes/tiny_family/regularization_table.py --out regularization --jobs 8

Every variant trains a style LoRA (`slipstream train`, Turbo with adapter v2) on 24 packaged drawings recoloured as
blueprints, called up by the word `felt`. Then Turbo with the LoRA draws, at 8 steps and guidance 0 (`slipstream
sample`), subjects that were not trained on: prompts without the trigger word, in the styles that Turbo knows, and
prompts with it. In the space of the judge's features, the way from Turbo's own pictures of the training captions to the
training pictures is the style. Measured are
- style: how far the pictures WITH the trigger word have gone that way (0 = Turbo's own, 1 = the training pictures);
- bleed: how far the pictures WITHOUT it have, and their Frechet distance to Turbo's own of the same prompts and seeds.
The LoRA without any regularization is also trained for a part of the steps: its bleed at less style.
Needs nothing but the package. Writes regularization_STEPS.json, .md and .webp; started again it goes on where it
stopped (one --out folder for one choice of settings). `--jobs N` trains and draws N variants at a time, a process with
`--threads` threads each.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from commands import draw, pictures_in, save_grid, seeds_table, slipstream
from PIL import Image, ImageOps
from torch import Tensor

from slipstream.evaluation.frechet import frechet_distance
from slipstream.evaluation.judge import Judge, load_judge
from slipstream.models.z_image.resolve import TINY_ROOT

PICTURES = Path(__file__).resolve().parents[2] / "examples/foxy_style"
TRIGGER = "felt"
INK, PAPER = (0.85, 0.95, 1.0), (0.08, 0.16, 0.42)
KNOWN_STYLES = ("noto", "blob", "twemoji", "flat", "glossy", "classic")
FORMS = ("a {style} emoji of {concept}", "{concept}, {style} style", "a picture of {concept} in {style} style")
STYLE_SET, CLASS_SET = "style_pictures", "class_pictures"


@dataclass(frozen=True)
class Variant:
    """Changes to the training panel and the advanced panel, a second dataset, and the share of the steps."""

    training: dict[str, Any]
    advanced: dict[str, Any]
    regularization: str | None = None
    share_of_steps: float = 1.0


def variants(class_word: str, multiplier: float) -> dict[str, Variant]:
    """What is compared."""

    def dop(factor: float) -> dict[str, Any]:
        return {"preservation": {"kind": "class_word", "class_word": class_word, "multiplier": factor * multiplier}}

    blank = {"preservation": {"kind": "blank_prompt", "multiplier": multiplier}}
    thrice = {"differential_guidance": {"scale": 3.0}}
    return {
        "nothing, 1/32 of the steps": Variant({}, {}, share_of_steps=1 / 32),
        "nothing, 1/16 of the steps": Variant({}, {}, share_of_steps=1 / 16),
        "nothing": Variant({}, {}),
        "DOP": Variant(dop(1.0), {}),
        "DOP, multiplier x 3": Variant(dop(3.0), {}),
        "DOP, differential guidance 3": Variant(dop(1.0), thrice),
        "blank prompt preservation": Variant(blank, {}),
        "prior set": Variant({}, {}, "prior"),
        "picture set": Variant({}, {}, "pictures"),
        "contrastive guidance 1.5": Variant({"contrastive_guidance": {"scale": 1.5}}, {}),
        "contrastive guidance 3": Variant({"contrastive_guidance": {"scale": 3.0}}, {}),
        "differential guidance 3": Variant({}, thrice),
    }


@dataclass(frozen=True)
class Probe:
    """What every variant is measured on: Turbo's own pictures without and with the trigger word, the style's way."""

    out: Path
    judge: Judge
    without: Tensor
    with_trigger: Tensor
    way: Tensor
    threads: int


def write_inputs(out: Path, judge: Judge, num_prompts: int) -> None:
    """Prompts with and without the trigger word, of subjects that are not trained on; and those of the class set."""
    subjects = sorted(path.stem for path in PICTURES.glob("*.png"))
    trained = [subject.replace("-", " ") for subject in subjects]
    concepts = [concept for concept in judge.concepts if concept not in trained]
    dice = random.Random(1)
    dice.shuffle(concepts)

    def write(name: str, chosen: list[str], styles: tuple[str, ...]) -> None:
        lines = [
            FORMS[number % len(FORMS)].format(style=styles[number % len(styles)], concept=concept)
            for number, concept in enumerate(chosen)
        ]
        (out / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    out.mkdir(parents=True, exist_ok=True)
    write("without_trigger.txt", concepts[:num_prompts], KNOWN_STYLES)
    write("with_trigger.txt", concepts[num_prompts : 2 * num_prompts], (TRIGGER,))
    write("class_set.txt", concepts[2 * num_prompts : 2 * num_prompts + 24], KNOWN_STYLES)
    write("style_set.txt", trained, (TRIGGER,))
    (out / STYLE_SET).mkdir(exist_ok=True)
    captions = (out / "style_set.txt").read_text(encoding="utf-8").splitlines()
    for subject, caption in zip(subjects, captions, strict=True):
        blueprint(Image.open(PICTURES / f"{subject}.png")).save(out / STYLE_SET / f"{subject}.png")
        (out / STYLE_SET / f"{subject}.txt").write_text(caption + "\n", encoding="utf-8")


def blueprint(picture: Image.Image) -> Image.Image:
    """Dark becomes light ink on blue paper, 128 x 128 pixels."""
    square = ImageOps.pad(picture.convert("L"), (128, 128), color=255)
    darkness = 1 - np.asarray(square, dtype=np.float32)[..., None] / 255
    pixels = darkness * np.float32(INK) + (1 - darkness) * np.float32(PAPER)
    return Image.fromarray((pixels * 255).round().astype(np.uint8))


def write_class_set(out: Path, threads: int) -> None:
    """24 pictures that Turbo itself draws, with their prompts as captions: the regularization set."""
    draw(out, CLASS_SET, "class_set.txt", threads=threads)
    prompts = (out / "class_set.txt").read_text(encoding="utf-8").splitlines()
    for path, prompt in zip(sorted((out / CLASS_SET).glob("*.png")), prompts, strict=True):
        path.with_suffix(".txt").write_text(prompt + "\n", encoding="utf-8")


def config_of(name: str, variant: Variant, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """The config of one training."""
    common = {"resolutions": [128], "caption_dropout": 0.0}
    datasets: list[dict[str, Any]] = [{"path": STYLE_SET, **common}]
    if variant.regularization is not None:
        datasets.append({"path": CLASS_SET, "regularization": variant.regularization, **common})
    return {
        "job": {"name": name, "trigger_word": TRIGGER, "seed": seed},
        "model": {"variant": "turbo", "name_or_path": "tiny/turbo", "training_adapter": "v2"},
        "target": {"rank": 16},
        "training": {
            "steps": max(1, round(arguments.steps * variant.share_of_steps)), "batch_size": 2, "optimizer": "adamw",
            "learning_rate": arguments.learning_rate, **variant.training,
        },
        "save": {"every": 0},
        "sample": {"prompts": [], "at_start": False},
        "datasets": datasets,
        "advanced": {"tensorboard": False, "cache_dir": "cache", **variant.advanced},
    }  # fmt: skip


def run_name(title: str, seed: int, steps: int) -> str:
    """`dop_600_seed_0`."""
    return f"{re.sub('[^a-z0-9]+', '_', title.lower())}_{steps}_seed_{seed}"


def measure(probe: Probe, title: str, variant: Variant, seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Train one LoRA, draw with it, judge."""
    out, name = probe.out, run_name(title, seed, arguments.steps)
    if not (out / f"runs/{name}/{name}.safetensors").exists():
        text = json.dumps(config_of(name, variant, seed, arguments), indent=2)
        (out / f"{name}.yaml").write_text(text, encoding="utf-8")
        slipstream(out, "train", f"{name}.yaml", threads=probe.threads)
    without = draw(out, f"without_{name}", "without_trigger.txt", f"runs/{name}", threads=probe.threads)
    with_trigger = draw(out, f"with_{name}", "with_trigger.txt", f"runs/{name}", threads=probe.threads)
    figures = judged(probe, without, with_trigger)
    print(title, seed, {key: round(value, 3) for key, value in figures.items()}, flush=True)
    return figures


def judged(probe: Probe, without: Tensor, with_trigger: Tensor) -> dict[str, float]:
    """Bleed and style of two sets of pictures."""
    features, way = probe.judge.features, probe.way

    def gone(images: Tensor, before: Tensor) -> float:
        return float((features(images).mean(0) - features(before).mean(0)) @ way / way.square().sum())

    return {
        "style": gone(with_trigger, probe.with_trigger),
        "bleed": gone(without, probe.without),
        "frechet": frechet_distance(features(without), features(probe.without)),
    }


def table(results: dict[str, list[dict[str, float]]], steps: int) -> str:
    """Markdown: one row a variant, each cell the mean and the seeds."""
    heading = (
        f"| {steps} steps, trained with | style, with the trigger word | bleed, without it | "
        "Frechet distance to Turbo, without it |"
    )
    return seeds_table(heading, {"style": "{:.0%}", "bleed": "{:.0%}", "frechet": "{:.1f}"}, results)


def turbo_itself(out: Path, judge: Judge, threads: int) -> Probe:
    """Turbo's own pictures."""
    asked = {"without_turbo": "without_trigger.txt", "with_turbo": "with_trigger.txt", "style_turbo": "style_set.txt"}
    without, with_trigger, captions = (draw(out, folder, prompts, threads=threads) for folder, prompts in asked.items())
    way = judge.features(pictures_in(out / STYLE_SET)).mean(0) - judge.features(captions).mean(0)
    return Probe(out, judge, without, with_trigger, way, threads)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--class-word", default="noto")
    parser.add_argument("--multiplier", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=96, help="prompts of each kind")
    parser.add_argument("--only", nargs="*", help="variants by name; all when left out")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--threads", type=int, default=2, help="threads of each")
    return parser.parse_args()


def main() -> None:
    """Train, draw, judge, write."""
    arguments = parse()
    out: Path = arguments.out.resolve()
    torch.set_num_threads(arguments.threads)
    judge = load_judge(TINY_ROOT / "judge")
    write_inputs(out, judge, arguments.prompts)
    write_class_set(out, arguments.threads)
    probe = turbo_itself(out, judge, arguments.threads)
    chosen = {
        title: variant
        for title, variant in variants(arguments.class_word, arguments.multiplier).items()
        if not arguments.only or title in arguments.only
    }
    with ThreadPoolExecutor(max_workers=arguments.jobs) as pool:
        running = {
            (title, seed): pool.submit(measure, probe, title, variant, seed, arguments)
            for seed in range(arguments.seeds)
            for title, variant in chosen.items()
        }
        measured = {key: future.result() for key, future in running.items()}
    results = {"Turbo without LoRA": [judged(probe, probe.without, probe.with_trigger)]}
    results |= {title: [measured[title, seed] for seed in range(arguments.seeds)] for title in chosen}
    settings = {key: value for key, value in vars(arguments).items() if key not in ("out", "jobs", "threads", "only")}
    stem = out / f"regularization_{arguments.steps}"
    stem.with_suffix(".json").write_text(json.dumps({**settings, "results": results}, indent=2) + "\n")
    stem.with_suffix(".md").write_text(table(results, arguments.steps), encoding="utf-8")
    folders = ["turbo", *(run_name(title, 0, arguments.steps) for title in chosen)]
    prompts = ("with_trigger.txt", "without_trigger.txt")
    rows = [
        torch.cat([draw(out, f"{kind.partition('_')[0]}_{folder}", kind)[:8] for kind in prompts]) for folder in folders
    ]
    save_grid(rows, stem.with_suffix(".webp"), columns=16)
    print(table(results, arguments.steps))


if __name__ == "__main__":
    main()

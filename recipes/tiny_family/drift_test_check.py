"""Does the test without labels of `slipstream drift` see what the judge sees?

    python recipes/tiny_family/drift_test_check.py --out check.json none_0=runs/none_0 v2_0=runs/v2_0 ...

Turbo with each LoRA draws known concepts with several steps and CFG. Of every set of pictures the judge says how many
concepts are right and how far they are from Turbo's own at 8 steps (Frechet distance of its features); the product's
own measures, by the VAE's encoder, know no labels. Writes both, and how well their ranks agree.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from slipstream.cli.sampling import parse_lora
from slipstream.drawings.request import Base, LoraUse
from slipstream.evaluation.frechet import frechet_distance
from slipstream.evaluation.judge import Judge, load_judge
from slipstream.evaluation.picture_distance import PictureFeatures, encoder_features, paired_distance, set_distance
from slipstream.evaluation.sharpness import relative_sharpness
from slipstream.evaluation.spectrum import radial_power, relative_fine_detail
from slipstream.models.z_image.resolve import TINY_ROOT
from slipstream.previews.render import Picture, render
from slipstream.training.drawing_model import DrawingModel, Told, settle_drawing_model

STEPS, GUIDANCE = (4, 8, 20, 30), (0.0, 2.0, 3.0)
STYLES = ("noto", "twemoji", "glossy", "blob")
MEASURES = ("distance", "set_distance", "sharpness", "fine_detail")


@dataclass(frozen=True)
class Reference:
    """Turbo's own pictures at 8 steps, and who looks at pictures."""

    model: DrawingModel
    judge: Judge
    labels: Tensor
    images: Tensor
    features: PictureFeatures


def prompts_of(judge: Judge, count: int) -> tuple[list[str], Tensor]:
    """Concepts of plain words drawn by lot, in turn in four styles; and their places in the judge's list."""
    plain = [concept for concept in judge.concepts if concept.replace(" ", "").isalpha()]
    order = torch.randperm(len(plain), generator=torch.Generator().manual_seed(3))[:count].tolist()
    prompts = [f"a {STYLES[number % len(STYLES)]} emoji of {plain[place]}" for number, place in enumerate(order)]
    return prompts, torch.tensor([judge.concepts.index(plain[place]) for place in order])


def draw(model: DrawingModel, prompts: Sequence[str], steps: int, guidance: float) -> Tensor:
    """(N, 3, 128, 128) in [0, 1], in bytes as files hold them; prompt number n from seed 100 + n."""
    pictures = [Picture(text, "", 128, 128, 100 + number, steps, guidance) for number, text in enumerate(prompts)]
    images = dict(render(model.renderer(max_batch=16), pictures))
    return (torch.stack([images[number] for number in range(len(pictures))]) * 255).round() / 255


def figures(reference: Reference, images: Tensor) -> dict[str, float]:
    """What the judge and the product say about pictures."""
    judge, own = reference.judge, reference.images
    logits = judge.concept_logits(images)
    rows = torch.arange(len(images))
    features = encoder_features(reference.model.codec.vae, images)
    return {
        "right": float((logits.argmax(1) == reference.labels).float().mean()),
        "log_probability": float(logits.log_softmax(1)[rows, reference.labels].mean()),
        "judge_distance": frechet_distance(judge.features(images), judge.features(own)),
        "distance": float(paired_distance(reference.features, features).mean()),
        "set_distance": set_distance(features, reference.features),
        "sharpness": relative_sharpness(images, own),
        "fine_detail": relative_fine_detail(radial_power(images), radial_power(own)),
    }


def rank_agreement(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's correlation; equal values share the mean of their ranks."""
    return float(torch.corrcoef(torch.stack([ranks(a), ranks(b)]))[0, 1])


def ranks(values: Sequence[float]) -> Tensor:
    """The place of every value among all."""
    column = torch.tensor(values, dtype=torch.float64)
    below = (column[None] < column[:, None]).sum(1)
    equal = (column[None] == column[:, None]).sum(1)
    return below + (equal + 1) / 2


def every_cell(reference: Reference, prompts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Figures by steps and CFG of what the model draws now."""
    return {
        f"{steps} steps, " + (f"CFG {guidance:g}" if guidance else "no CFG"): figures(
            reference, draw(reference.model, prompts, steps, guidance)
        )
        for guidance in GUIDANCE
        for steps in STEPS
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loras", nargs="+", metavar="NAME=LORA")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=24)
    arguments = parser.parse_args()
    judge, told = load_judge(TINY_ROOT / "judge"), Told()
    prompts, labels = prompts_of(judge, arguments.prompts)
    model = settle_drawing_model(Base("tiny/turbo", "tiny/turbo"), "cpu", told)
    model.encode([*prompts, ""], told)
    model.use([], told)
    own = draw(model, prompts, 8, 0.0)
    reference = Reference(model, judge, labels, own, encoder_features(model.codec.vae, own))
    results = {"Turbo without LoRA": every_cell(reference, prompts)}
    for text in arguments.loras:
        name, _, path = text.partition("=")
        model.use([LoraUse(parse_lora(path).path)], told)
        results[name] = every_cell(reference, prompts)
        print(name, results[name]["8 steps, no CFG"], flush=True)
    rows = [row for cells in results.values() for row in cells.values()]
    agreement = {
        measure: {by: rank_agreement([row[measure] for row in rows], [row[by] for row in rows])
                  for by in ("right", "log_probability", "judge_distance")}
        for measure in MEASURES
    }  # fmt: skip
    found = {"prompts": len(prompts), "results": results, "rank_agreement": agreement}
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(agreement, indent=1))


if __name__ == "__main__":
    main()

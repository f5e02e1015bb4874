"""What `rank` measures of every checkpoint, and what it is measured against: the base's own pictures, the training
pictures, and the probes of the drift meter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from slipstream.data.buckets import Bucket
from slipstream.data.dataset import Example
from slipstream.data.images import read_image
from slipstream.data.transforms import to_levels
from slipstream.drawings.request import LoraUse
from slipstream.evaluation.concept import ConceptWay, concept_way, look
from slipstream.evaluation.drift import Probe, drift_score, lay_probes, light, velocity_change
from slipstream.evaluation.leak import Leak, measure_leak
from slipstream.evaluation.overfit import Nearest, diversity, nearest_training, typical_distance
from slipstream.evaluation.picture_distance import PictureFeatures, encoder_features, joined
from slipstream.evaluation.unrelated import UnrelatedPrompts
from slipstream.previews.drawing import draw
from slipstream.previews.render import LATENT_CHANNELS, Picture
from slipstream.training.drawing_model import DrawingModel, Told
from slipstream.training.ranking_prompts import Asked

Drawn = Callable[[int], None]
"""Told how many pictures more are drawn."""
_LEAST_DIVERSITY = 1e-6


@dataclass(frozen=True)
class Sets:
    """Features of the pictures of one LoRA (or of the base) by what they were asked for."""

    concept: PictureFeatures
    taught: PictureFeatures
    same: PictureFeatures | None
    unrelated: PictureFeatures


@dataclass(frozen=True)
class Bench:
    """Everything that checkpoints are measured against.

    Attributes:
        levels: bytes (N, 3, side, side) of the training pictures as they are compared.
        training: their features.
        typical: what training pictures keep from each other.
        way: the concept.
        base: the base's own pictures of what is asked, and their features.
        diversity: of the base's own pictures over seeds.
        probes: of the drift meter.
    """

    model: DrawingModel
    asked: Asked
    levels: Tensor
    training: PictureFeatures
    typical: float
    way: ConceptWay
    base_pictures: Tensor
    base: Sets
    diversity: float
    probes: tuple[Probe, ...]


@dataclass(frozen=True)
class Measured:
    """What was found of one LoRA at one weight; `pictures` are bytes (N, 3, side, side) in the order of
    `Asked.of_a_checkpoint`, `nearest` belongs to those of the concept's prompts and the training captions."""

    strength: float
    taught: float
    drift: float
    light: str
    leak: Leak
    diversity: float
    nearest: tuple[Nearest, ...]
    pictures: Tensor


def lay_bench(
    model: DrawingModel, asked: Asked, probes: UnrelatedPrompts, any_lora: LoraUse, told: Told, drawn: Drawn
) -> Bench:  # fmt: skip
    """Load the model and draw the base's own pictures, with `any_lora` attached at weight 0.

    Raises:
        SlipstreamError: the model, the LoRA or a training picture cannot be read.
    """
    model.encode((*asked.captions, *probes.prompts), told)
    model.drop_encoder()
    model.use([any_lora], told)
    told.phase("look at training pictures", 0, len(asked.examples))
    levels = torch.stack([_levels(example, asked.side) for example in asked.examples])
    training = _features(model, levels)
    way_features = _features(model, _draw(model, asked.way, 0.0, drawn))
    base_pictures = _draw(model, asked.of_a_checkpoint, 0.0, drawn)
    base = _sets(model, asked, base_pictures)
    rows = [asked.examples.index(example) for example in _captioned(asked)]
    return Bench(
        model=model,
        asked=asked,
        levels=levels,
        training=training,
        typical=typical_distance(training),
        way=concept_way(look(way_features), look(training)[rows]),
        base_pictures=base_pictures,
        base=base,
        diversity=max(_LEAST_DIVERSITY, _diversity(asked, base.concept)),
        probes=_lay_probes(model, probes),
    )


def measure(bench: Bench, lora: LoraUse, told: Told, drawn: Drawn) -> Measured:
    """Draw with a LoRA at its weight and compare.

    Raises:
        AdapterError: the file cannot be read.
    """
    model, asked, base = bench.model, bench.asked, bench.base
    model.use([lora], told)
    renderer = model.renderer()
    change = velocity_change(renderer.predict, renderer.features, bench.probes)
    pictures = _draw(model, asked.of_a_checkpoint, 1.0, drawn)
    found = _sets(model, asked, pictures)
    score = drift_score(change)
    same = None
    if found.same is not None and base.same is not None:
        same = look(found.same), look(base.same)
    return Measured(
        strength=bench.way.gone(look(found.concept), look(base.concept)),
        taught=bench.way.gone(look(found.taught), look(base.taught)),
        drift=score,
        light=light(score),
        leak=measure_leak(bench.way, (look(found.unrelated), look(base.unrelated)), same),
        diversity=_diversity(asked, found.concept) / bench.diversity,
        nearest=tuple(nearest_training(joined([found.concept, found.taught]), bench.training, bench.typical)),
        pictures=pictures,
    )


def _levels(example: Example, side: int) -> Tensor:
    picture = read_image(example.image.path)
    return torch.from_numpy(to_levels(picture, Bucket(side, side), flip=False)).permute(2, 0, 1)


def _features(model: DrawingModel, levels_B3HW: Tensor) -> PictureFeatures:
    return encoder_features(model.codec.vae, levels_B3HW.float() / 255)


def _captioned(asked: Asked) -> Sequence[Example]:
    """The training pictures whose captions the base has drawn."""
    prompts = {picture.prompt for picture in asked.way}
    return [example for example in asked.examples if example.caption in prompts]


def _draw(model: DrawingModel, pictures: Sequence[Picture], scale: float, drawn: Drawn) -> Tensor:
    """Bytes (N, 3, side, side) of the pictures, with the LoRA's weight times `scale`."""
    images: list[Tensor | None] = [None] * len(pictures)

    def keep(number: int, image: Tensor) -> None:
        images[number] = image.cpu()

    asked = [replace(picture, lora_scale=scale) for picture in pictures]
    with closing(draw(model.renderer(), asked, keep)) as done:
        for _ in done:
            drawn(1)
    return torch.stack([image for image in images if image is not None])


def _sets(model: DrawingModel, asked: Asked, pictures: Tensor) -> Sets:
    ends = [0, *accumulate(map(len, (asked.concept, asked.taught, asked.same, asked.unrelated)))]
    concept, taught, same, unrelated = (
        _features(model, pictures[start:end]) if end > start else None for start, end in pairwise(ends)
    )
    assert concept is not None
    assert taught is not None
    assert unrelated is not None
    return Sets(concept, taught, same, unrelated)


def _diversity(asked: Asked, drawn: PictureFeatures) -> float:
    """Of the concept's pictures over the seeds of each prompt."""
    prompts = [picture.prompt for picture in asked.concept]
    groups = [[row for row, text in enumerate(prompts) if text == one] for one in dict.fromkeys(prompts)]
    return diversity(drawn, groups)


def _lay_probes(model: DrawingModel, probes: UnrelatedPrompts) -> tuple[Probe, ...]:
    renderer = model.renderer()
    cells = probes.side // renderer.latent_downscale
    with renderer.at_lora_scale(0.0):
        return lay_probes(
            renderer.predict, renderer.features, renderer.shift_at, probes.prompts, (LATENT_CHANNELS, cells, cells),
            renderer.device, first_seed=probes.first_seed,
        )  # fmt: skip

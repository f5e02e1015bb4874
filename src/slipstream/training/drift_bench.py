"""The measurements of `slipstream drift`: pictures of unrelated prompts with a LoRA against the base's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from slipstream.drawings.request import LoraUse
from slipstream.evaluation.drift import (
    LEVELS,
    LevelChange,
    Probe,
    detail_energy,
    drift_score,
    lay_probes,
    light,
    velocity_change,
)
from slipstream.evaluation.drift_findings import LEAST_DISTANCE, MANY_STEPS, USUAL_STEPS, Cell, Level, LoraDrift
from slipstream.evaluation.picture_distance import (
    PictureFeatures,
    encoder_features,
    joined,
    paired_distance,
    set_distance,
)
from slipstream.evaluation.sharpness import relative_sharpness
from slipstream.evaluation.spectrum import radial_power, relative_fine_detail
from slipstream.evaluation.unrelated import UnrelatedPrompts
from slipstream.flow.solvers import euler_sigmas
from slipstream.previews.png import to_uint8
from slipstream.previews.render import LATENT_CHANNELS, Picture, Step, render
from slipstream.training.drawing_model import DrawingModel, Told

DECODE = 4
"""What decoding and looking at a picture costs, in predictions, for the progress bar."""
_NOBODY = Told()
_AT_ONCE = 4
"""Probes in a batch."""
LOWER_WEIGHTS = (0.8, 0.7, 0.6)
"""The guide's range for a LoRA that is too strong, as shares of the weight."""


@dataclass(frozen=True)
class Asked:
    """What is measured.

    Attributes:
        pictures: unrelated prompts by seeds, with the base's own steps and guidance.
        probes: what the drift meter measures on.
        few: whether the base draws in few steps, which is what drift loses.
        cells: (steps, CFG) to try besides the usual, in order; empty: none.
        with_sets: whether the distance between sets is measured.
    """

    pictures: tuple[Picture, ...]
    probes: UnrelatedPrompts
    few: bool
    cells: tuple[tuple[int, float], ...]
    with_sets: bool

    @property
    def captions(self) -> tuple[str, ...]:
        """Everything to encode."""
        texts = (text for one in self.pictures for text in (one.prompt, one.negative_prompt))
        return tuple(dict.fromkeys([*texts, *self.probes.prompts]))

    def base_work(self) -> int:
        """Predictions to make without a LoRA."""
        return len(self.probes.prompts) * (USUAL_STEPS + len(LEVELS)) + sum(map(work_of, self.of_base()))

    def lora_work(self, *, with_cells: bool) -> int:
        """Predictions to make for a LoRA."""
        more = [one for cell in self.cells for one in self.at(*cell)] if with_cells else []
        probes = len(self.probes.prompts) * (USUAL_STEPS + len(LEVELS) * (1 + len(LOWER_WEIGHTS)))
        return probes + sum(map(work_of, (*self.of_base(), *more)))

    def of_base(self) -> tuple[Picture, ...]:
        """Pictures with the usual steps, and with many where the usual are few."""
        return (*self.pictures, *(self.at(MANY_STEPS, 0.0) if self.few else ()))

    def at(self, steps: int, guidance_scale: float) -> tuple[Picture, ...]:
        """The pictures with other steps and CFG."""
        return tuple(replace(one, steps=steps, guidance_scale=guidance_scale) for one in self.pictures)


def work_of(picture: Picture) -> int:
    """What a picture costs in predictions."""
    return picture.steps * (2 if picture.uses_guidance else 1) + DECODE


@dataclass(frozen=True)
class Drawn:
    """Pictures as bytes (N, 3, side, side), what the encoder sees in them, and their spectra."""

    pictures: Tensor
    features: PictureFeatures
    power: Tensor

    @property
    def images(self) -> Tensor:
        """In [0, 1]."""
        return self.pictures.float() / 255


@dataclass(frozen=True)
class Bench:
    """The base's own pictures and walks, which LoRAs are compared with: the drift meter's, for the score, and all eight
    steps."""

    model: DrawingModel
    asked: Asked
    probes: tuple[Probe, ...]
    eight: tuple[Probe, ...]
    usual: Drawn
    many: Drawn | None
    work: Callable[[int], None]

    @property
    def few_to_many(self) -> float | None:
        """How far the base's own 8 steps are from its 30."""
        return None if self.many is None else _mean_distance(self.usual, self.many)


@dataclass(frozen=True)
class Measured:
    """Findings about a LoRA, and its pictures by (steps, CFG)."""

    drift: LoraDrift
    pictures: dict[tuple[int, float], Tensor]


def lay_bench(model: DrawingModel, asked: Asked, told: Told, work: Callable[[int], None]) -> Bench:
    """Load the model and draw what it draws without a LoRA; `work` is told predictions made.

    Raises:
        SlipstreamError: the model cannot be loaded.
    """
    model.encode(asked.captions, told)
    model.drop_encoder()
    model.use([], told)
    renderer = model.renderer()
    cells = asked.probes.side // renderer.latent_downscale
    sigmas = euler_sigmas(USUAL_STEPS, renderer.shift_at((cells // 2) ** 2))[:-1]
    probes, eight = (
        lay_probes(
            renderer.predict, renderer.text, renderer.shift_at, asked.probes.prompts, (LATENT_CHANNELS, cells, cells),
            renderer.device, levels, first_seed=asked.probes.first_seed,
        )
        for levels in (LEVELS, sigmas.tolist())
    )  # fmt: skip
    work(len(probes) * (USUAL_STEPS + len(LEVELS)))
    usual = _draw(model, asked.pictures, work)
    many = _draw(model, asked.at(MANY_STEPS, 0.0), work) if asked.few else None
    return Bench(model, asked, probes, eight, usual, many, work)


def measure(
    bench: Bench, lora: LoraUse, name: str, step: int | None, told: Told, *, with_cells: bool
) -> Measured:  # fmt: skip
    """Everything about a LoRA at its weight.

    Raises:
        AdapterError: the file cannot be read or does not fit.
    """
    asked = bench.asked
    score, levels, score_at = _meter(bench, lora, told)
    usual = _draw(bench.model, asked.pictures, bench.work)
    many = _draw(bench.model, asked.at(MANY_STEPS, 0.0), bench.work) if asked.few else None
    drawn = {(one.steps, _guidance(one)): usual for one in asked.pictures[:1]}
    if many is not None:
        drawn[MANY_STEPS, 0.0] = many
    for cell in asked.cells if with_cells else ():
        drawn[cell] = _draw(bench.model, asked.at(*cell), bench.work)
    drift = LoraDrift(
        name=name,
        step=step,
        score=score,
        light=light(score) if asked.few else None,
        levels=levels,
        score_at=score_at,
        distance=_mean_distance(bench.usual, usual),
        set_distance=set_distance(bench.usual.features, usual.features) if asked.with_sets else None,
        few_to_many=None if many is None else _mean_distance(usual, many),
        sharpness=relative_sharpness(usual.images, bench.usual.images),
        fine_detail=relative_fine_detail(usual.power, bench.usual.power),
        spectrum=tuple((usual.power.mean(0) / bench.usual.power.mean(0).clamp(min=1e-12)).tolist()),
        cells=_cells(bench, drawn) if with_cells else (),
    )
    return Measured(drift, {cell: one.pictures for cell, one in drawn.items()})


def _guidance(picture: Picture) -> float:
    return picture.guidance_scale if picture.uses_guidance else 0.0


def _meter(bench: Bench, lora: LoraUse, told: Told) -> tuple[float, tuple[Level, ...], dict[str, float]]:
    """The score, what the LoRA changes along Turbo's eight steps, and its score at lower weights; leaves it attached at
    its own weight."""
    bench.model.use([lora], told)
    score, levels = drift_score(_changes(bench)), _along(bench)
    bench.work(len(bench.probes) * (USUAL_STEPS + len(LEVELS)))
    score_at = {}
    for share in LOWER_WEIGHTS:
        weight = round(lora.strength * share, 3)
        bench.model.use([replace(lora, strength=weight)], _NOBODY)
        score_at[f"{weight:g}"] = drift_score(_changes(bench))
        bench.work(len(bench.probes) * len(LEVELS))
    bench.model.use([lora], _NOBODY)
    return score, levels, score_at


def _changes(bench: Bench) -> dict[float, LevelChange]:
    renderer = bench.model.renderer()
    return velocity_change(renderer.predict, renderer.text, bench.probes)


def _along(bench: Bench) -> tuple[Level, ...]:
    """What the LoRA changes at the states of the base's own eight steps, the mean over probes: the velocity there, and
    the amplitude of the detail in the guess of the clean latents."""
    sigmas = bench.eight[0].sigmas
    parts = [bench.eight[start : start + _AT_ONCE] for start in range(0, len(bench.eight), _AT_ONCE)]
    levels = []
    for step, sigma in enumerate(sigmas):
        moved, kept = (
            torch.cat(found).mean() for found in zip(*(_moved(bench, part, step) for part in parts), strict=True)
        )
        levels.append(Level(round(sigma, 3), float(moved), float(kept.exp())))
    return tuple(levels)


@torch.no_grad()
def _moved(bench: Bench, probes: Sequence[Probe], step: int) -> tuple[Tensor, Tensor]:
    """Relative change of the velocity and logarithm of the detail that is kept at a step, both (B,)."""
    renderer, sigma = bench.model.renderer(), probes[0].sigmas[step]
    states = torch.stack([probe.states[step] for probe in probes])
    own = torch.stack([probe.velocities[step] for probe in probes])
    sigma_B = torch.full((len(probes),), sigma, device=states.device)
    velocity = renderer.predict(states, sigma_B, [renderer.text(probe.prompt) for probe in probes]).float()
    moved = (velocity - own).flatten(1).norm(dim=1) / own.flatten(1).norm(dim=1)
    kept = detail_energy(states - sigma * velocity) / detail_energy(states - sigma * own)
    return moved, kept.log() / 2


def _draw(model: DrawingModel, pictures: Sequence[Picture], work: Callable[[int], None]) -> Drawn:
    images: list[Tensor | None] = [None] * len(pictures)
    features: list[PictureFeatures | None] = [None] * len(pictures)

    def on_step(at: Step) -> None:
        work(at.pictures * (2 if pictures[0].uses_guidance else 1))

    for index, image in render(model.renderer(), pictures, on_step):
        images[index] = to_uint8(image).cpu()
        features[index] = encoder_features(model.codec.vae, image[None])
        work(DECODE)
    bytes_N3HW = torch.stack([image for image in images if image is not None])
    whole = joined([one for one in features if one is not None])
    return Drawn(bytes_N3HW, whole, radial_power(bytes_N3HW.float() / 255))


def _mean_distance(a: Drawn, b: Drawn) -> float:
    return float(paired_distance(a.features, b.features).mean())


def _to_nearest(bench: Bench, drawn: Drawn) -> Tensor:
    """Distance of every picture to the nearer of the base's own with few and with many steps (N,): which of them a
    LoRA's picture is like is no matter of quality."""
    to_usual_N = paired_distance(bench.usual.features, drawn.features)
    if bench.many is None:
        return to_usual_N
    return torch.minimum(to_usual_N, paired_distance(bench.many.features, drawn.features))


def _cells(bench: Bench, drawn: dict[tuple[int, float], Drawn]) -> tuple[Cell, ...]:
    """The test with other steps and CFG, compared pair by pair with the usual ones."""
    usual_N = _to_nearest(bench, drawn[USUAL_STEPS, 0.0])
    whole = max(float(usual_N.mean()), LEAST_DISTANCE)
    found = []
    for steps, guidance_scale in sorted(drawn):
        one = drawn[steps, guidance_scale]
        distance_N = _to_nearest(bench, one)
        nearer_N = (usual_N - distance_N) / whole
        found.append(
            Cell(
                steps, guidance_scale, float(distance_N.mean()), float(nearer_N.mean()),
                float(nearer_N.std()) / len(nearer_N) ** 0.5, relative_sharpness(one.images, bench.usual.images),
            )
        )  # fmt: skip
    return tuple(found)

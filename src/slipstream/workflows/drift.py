"""How far a LoRA has pulled Turbo away from its few steps, measured on prompts that have nothing to do with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream.core.atomic import write_json
from slipstream.core.errors import ConfigError, RunError
from slipstream.drawings.request import Base, LoraUse
from slipstream.evaluation.drift_findings import (
    MANY_STEPS,
    TRIED_GUIDANCE,
    TRIED_STEPS,
    USUAL_STEPS,
    DriftFindings,
    LoraDrift,
)
from slipstream.evaluation.drift_verdict import advice_of, verdict_of
from slipstream.evaluation.unrelated import pictured_prompts, unrelated_prompts
from slipstream.reports.drift_page import DriftPictures, write_drift_page
from slipstream.workflows.drift_target import Target, base_called, find_target

if TYPE_CHECKING:
    from torch import Tensor

    from slipstream.training.drift_bench import Asked, Bench, Measured

SHOWN_PROMPTS = 4
"""Pictures of so many prompts are kept."""
FIRST_SEED = 2000
_FEWEST_PICTURES = 2


@dataclass(frozen=True)
class DriftRequest:
    """What to measure.

    Attributes:
        target: a LoRA file, a run folder, or a run's name.
        out: the folder for `drift.json`, `drift.html` and pictures.
        all_checkpoints: every LoRA of the run, the test with other steps and CFG for the newest alone.
        base: another base than the one it was trained for.
        prompts: unrelated ones in place of slipstream's own.
        num_seeds: pictures of each prompt.
        side: of the pictures in pixels, None for the model's.
        weight: of the LoRA.
        quick: no test with other steps and CFG, no distance between sets.
        device: as in configs.
    """

    target: str
    out: Path
    all_checkpoints: bool = False
    base: str | None = None
    prompts: tuple[str, ...] = ()
    num_seeds: int = 1
    side: int | None = None
    weight: float = 1.0
    quick: bool = False
    device: str = "auto"


@dataclass(frozen=True)
class Watch:
    """Who is told: lines for a log, how far loading is (what, done, total), how far measuring is (what, predictions
    made, predictions in all)."""

    log: Callable[[str], None] = lambda line: None
    loading: Callable[[str, int, int], None] = lambda what, done, total: None
    measuring: Callable[[str, int, int], None] = lambda what, done, total: None


@dataclass
class _Work:
    """Counts predictions over the whole command."""

    watch: Watch
    total: int
    done: int = 0
    what: str = ""

    def begin(self, what: str) -> None:
        self.what = what
        self(0)

    def __call__(self, count: int) -> None:
        self.done += count
        self.watch.measuring(self.what, min(self.done, self.total), self.total)


def measure_drift(request: DriftRequest, watch: Watch) -> DriftFindings:
    """Measure, and write `drift.json`, `drift.html` and the pictures that it shows into `request.out`.

    Raises:
        SlipstreamError: the LoRA, its base or the prompts are not to be had.
    """
    from slipstream.training.drawing_model import Told, settle_drawing_model
    from slipstream.training.drift_bench import lay_bench, measure

    began = time.monotonic()
    target = find_target(request.target, all_checkpoints=request.all_checkpoints)
    base, variant, notes = _base(request, target)
    asked = _asked(request, base, variant)
    notes += _about_prompts(request, target, base, variant)
    _make_folder(request.out)
    told = Told(watch.log, watch.loading)
    loras = len(target.loras)
    total = asked.base_work() + (loras - 1) * asked.lora_work(with_cells=False) + asked.lora_work(with_cells=True)
    watch.log(
        f"{base.model}: {loras} LoRA{'s' if loras > 1 else ''}, {len(asked.pictures)} pictures of "
        f"{asked.pictures[0].width} x {asked.pictures[0].height} each time, {total} predictions"
    )
    work = _Work(watch, total, what="the base's own pictures")
    bench = lay_bench(settle_drawing_model(base, request.device, told), asked, told, work)
    measured: list[Measured] = []
    for number, one in enumerate(target.loras):
        with_cells = bool(asked.cells) and number == loras - 1
        work.begin(one.path.stem if loras == 1 else f"step {one.step} ({number + 1} of {loras})")
        found = measure(bench, LoraUse(one.path, request.weight), one.path.name, one.step, told, with_cells=with_cells)
        measured.append(found)
    findings = _findings(request, target, base, variant, bench, [one.drift for one in measured], notes)
    findings = replace(findings, seconds=round(time.monotonic() - began, 1))
    write_json(request.out / "drift.json", asdict(findings))
    write_drift_page(request.out / "drift.html", findings, _keep_pictures(request.out / "pictures", bench, measured))
    return findings


def _base(request: DriftRequest, target: Target) -> tuple[Base, str, list[str]]:
    """The base to measure on, its variant, and what is to be known about the choice."""
    from slipstream.config.variants import VARIANTS, variant_of

    if request.base is not None:
        base = base_called(request.base)
        trained = target.base.model if target.base is not None else target.training.base
        differs = trained not in (None, base.model)
        return base, variant_of(base.model), [f"trained for {trained}, measured on {base.model}"] if differs else []
    if target.base is not None:
        return target.base, target.variant or variant_of(target.base.model), []
    base = base_called(VARIANTS["turbo"].default_repo)
    named = f" {target.training.base!r}, which is not known here" if target.training.base else " no base"
    return base, "turbo", [f"the file names{named}: measured on Z-Image Turbo; `--base` says otherwise"]


def _asked(request: DriftRequest, base: Base, variant: str) -> Asked:
    from slipstream.config.variants import VARIANTS, is_tiny
    from slipstream.previews.render import Picture
    from slipstream.training.drift_bench import Asked

    facts, tiny = VARIANTS[variant], is_tiny(base.model)
    probes = unrelated_prompts(is_tiny=tiny, own=request.prompts)
    side = request.side or probes.side
    prompts = pictured_prompts(is_tiny=tiny, own=request.prompts)
    pictures = tuple(
        Picture(
            prompt=prompt, negative_prompt="", width=side, height=side, seed=FIRST_SEED + seed * len(prompts) + number,
            steps=facts.preview_steps, guidance_scale=facts.guidance_scale,
        )
        for seed in range(request.num_seeds)
        for number, prompt in enumerate(prompts)
    )  # fmt: skip
    if len(pictures) < _FEWEST_PICTURES:
        raise ConfigError("one picture is no measurement", where="--prompts", fix="give more prompts, or --seeds 2.")
    few = variant == "turbo"
    drawn = {(USUAL_STEPS, 0.0), (MANY_STEPS, 0.0)}
    cells = [(s, g) for g in TRIED_GUIDANCE for s in TRIED_STEPS if (s, g) not in drawn]
    return Asked(pictures, probes, few, tuple(cells) if few and not request.quick else (), not request.quick)


def _about_prompts(request: DriftRequest, target: Target, base: Base, variant: str) -> list[str]:
    """Notes on what the figures are worth."""
    from slipstream.config.variants import VARIANTS, is_tiny

    notes = []
    word = target.training.trigger_word
    if word and any(word.lower() in prompt.lower() for prompt in request.prompts):
        notes.append(f"some prompts hold the trigger word {word!r}: what was learned counts as drift there")
    if request.prompts and variant == "turbo":
        notes.append("scores on other prompts than slipstream's own are on another scale: the light is a rough one")
    if variant != "turbo":
        turbo = "tiny/turbo" if is_tiny(base.model) else VARIANTS["turbo"].default_repo
        notes.append(
            f"{base.model} is no few-step model: no light, no comparison of {USUAL_STEPS} with {MANY_STEPS} steps, no "
            "test of steps and CFG. What is measured is how far the LoRA changes unrelated prompts. If it shall be "
            f"used on Turbo, measure it there: `--base {turbo}`"
        )
    return notes


def _findings(
    request: DriftRequest, target: Target, base: Base, variant: str, bench: Bench, loras: list[LoraDrift],
    notes: list[str],
) -> DriftFindings:  # fmt: skip
    from slipstream.config.variants import is_tiny
    from slipstream.evaluation.drift import RED, YELLOW
    from slipstream.evaluation.spectrum import ring_frequencies

    newest, first = loras[-1], bench.asked.pictures[0]
    turbo, verdict = verdict_of(newest)
    prompts = tuple(dict.fromkeys(picture.prompt for picture in bench.asked.pictures))
    return DriftFindings(
        name=target.name,
        base=base.model,
        variant=variant,
        steps=first.steps,
        guidance_scale=first.guidance_scale,
        weight=request.weight,
        prompts=prompts,
        num_seeds=request.num_seeds,
        side=first.width,
        frequencies=ring_frequencies(len(newest.spectrum)),
        base_few_to_many=bench.few_to_many,
        limits=(YELLOW, RED),
        loras=tuple(loras),
        training=target.training,
        verdict=verdict,
        turbo=turbo,
        advice=advice_of(newest, loras[:-1], target.training, is_tiny=is_tiny(base.model)),
        notes=tuple(notes),
        seconds=0.0,
    )


def _make_folder(folder: Path) -> None:
    try:
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder: {error}", where=str(folder), fix="give another --out.") from error


def _keep_pictures(folder: Path, bench: Bench, measured: Sequence[Measured]) -> DriftPictures:
    """Write the pictures of the first prompts, as PNG files that say how they were made."""
    from slipstream.previews.png import save_png
    from slipstream.training.preview_stage import picture_metadata

    shown = bench.asked.pictures[:SHOWN_PROMPTS]

    def kept(pictures: Tensor, name: str, steps: int, guidance_scale: float) -> tuple[Path, ...]:
        paths = []
        for number, picture in enumerate(shown):
            path = folder / f"{name}_{steps:02d}_steps_cfg_{guidance_scale:g}_prompt_{number:02d}.png"
            as_drawn = replace(picture, steps=steps, guidance_scale=guidance_scale)
            save_png(path, pictures[number], picture_metadata(as_drawn, 0, {"lora": name}))
            paths.append(path)
        return tuple(paths)

    first = shown[0]
    usual = first.steps, first.guidance_scale if first.uses_guidance else 0.0
    stems = [Path(one.drift.name).stem for one in measured]
    return DriftPictures(
        base=kept(bench.usual.pictures, "base", *usual),
        loras=tuple(kept(one.pictures[usual], stem, *usual) for stem, one in zip(stems, measured, strict=True)),
        cells={cell: kept(drawn, stems[-1], *cell) for cell, drawn in measured[-1].pictures.items()},
    )

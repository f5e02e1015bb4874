"""Which checkpoint of a run to take: every one measured on the same small pictures, compared, and one recommended."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from slipstream.core.errors import RunError
from slipstream.drawings.request import Base, LoraUse
from slipstream.evaluation.recommend import recommend, recommend_weight, scored
from slipstream.reports.ranking_page import write_ranking_page
from slipstream.runs.layout import RunDir
from slipstream.runs.progress import read_progress
from slipstream.runs.ranking import Figures, Ranking, write_ranking
from slipstream.runs.validation import held_out_rise, read_rows

if TYPE_CHECKING:
    from slipstream.config.run_config import RunConfig
    from slipstream.training.drawing_model import Told
    from slipstream.training.ranking_bench import Bench, Measured

WEIGHTS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_LABEL = re.compile(r"_(\d{9})\.safetensors$")


@dataclass(frozen=True)
class RankRequest:
    """What to compare.

    Attributes:
        run: a run with a LoRA or more.
        num_prompts: of the concept; there are two thirds as many of each other kind.
        num_seeds: of the concept's prompts, at least 2.
        device: as in configs.
        page: where the page goes.
    """

    run: RunDir
    page: Path
    num_prompts: int = 12
    num_seeds: int = 2
    device: str = "auto"


@dataclass(frozen=True)
class Watch:
    """Who is told: lines for a log, how far loading is (name, done, total), how far drawing is (what, pictures drawn,
    pictures in all)."""

    log: Callable[[str], None]
    loading: Callable[[str, int, int], None]
    drawing: Callable[[str, int, int], None]


@dataclass(frozen=True)
class Checkpoint:
    """A LoRA file of a run and how many updates it was trained for."""

    step: int
    path: Path


def checkpoints_of(run: RunDir) -> list[Checkpoint]:
    """The run's LoRAs by step; the finished one counts where no checkpoint is the same.

    Raises:
        RunError: there is none.
    """
    found = {
        int(match[1]): path for path in run.checkpoints.glob("*.safetensors") if (match := _LABEL.search(path.name))
    }
    progress = read_progress(run)
    if run.lora.is_file() and progress is not None and progress.step not in found:
        found[progress.step] = run.lora
    if not found:
        raise RunError(
            "the run has no checkpoint yet", where=str(run.path),
            fix="wait for its first one (save.every), or ask for one with `slipstream save`.",
        )  # fmt: skip
    return [Checkpoint(step, found[step]) for step in sorted(found)]


def rank(request: RankRequest, watch: Watch) -> Ranking:
    """Measure every checkpoint, recommend one and its weight, write `ranking.json` and the page.

    Raises:
        SlipstreamError: the run has no checkpoint, or its model or pictures are not to be had.
    """
    from slipstream.config.run_config import config_from_run
    from slipstream.training.ranking_pictures import page_pictures

    began = time.monotonic()
    run, checkpoints = request.run, checkpoints_of(request.run)
    config = config_from_run(run.config)
    bench, drawing = _lay_bench(request, config, checkpoints, watch)
    rows = read_rows(run.validation)
    measured = {}
    for number, one in enumerate(checkpoints, start=1):
        what = f"step {one.step} ({number} of {len(checkpoints)} checkpoints)"
        measured[one.step] = drawing.measure(bench, LoraUse(one.path), what)
    figures = scored([_figures(run, one, 1.0, measured[one.step], rows) for one in checkpoints])
    best = recommend(figures)
    chosen = next(one for one in checkpoints if one.step == best.figures.step)
    at_weight = {
        weight: measured[chosen.step]
        if weight == 1
        else drawing.measure(bench, LoraUse(chosen.path, weight), f"step {chosen.step} at weight {weight:g}")
        for weight in WEIGHTS
    }
    weights = scored([_figures(run, chosen, weight, found, rows) for weight, found in at_weight.items()])
    weight = recommend_weight(weights)
    ranking = Ranking(
        run=run.name,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 1),
        settings=_settings(config, bench, request),
        checkpoints=tuple(figures),
        weights=tuple(weights),
        recommended={
            "step": best.figures.step, "file": best.figures.file, "weight": weight.figures.weight,
            "reason": best.reason, "weight_reason": weight.reason,
        },
        notes=tuple(_notes(config, bench, rows)),
    )  # fmt: skip
    write_ranking(run, ranking)
    write_ranking_page(request.page, ranking, page_pictures(bench, measured, at_weight, best.figures.step))
    return ranking


@dataclass
class _Drawing:
    """Counts pictures over the whole ranking."""

    watch: Watch
    told: Told
    total: int
    done: int = 0
    what: str = ""

    def drawn(self, count: int) -> None:
        self.done += count
        self.watch.drawing(self.what, self.done, self.total)

    def measure(self, bench: Bench, lora: LoraUse, what: str) -> Measured:
        from slipstream.training.ranking_bench import measure

        self.what = what
        self.drawn(0)
        return measure(bench, lora, self.told, self.drawn)


def _lay_bench(
    request: RankRequest, config: RunConfig, checkpoints: Sequence[Checkpoint], watch: Watch
) -> tuple[Bench, _Drawing]:  # fmt: skip
    """Everything that checkpoints are measured against, and who draws them."""
    from slipstream.config.variants import extras_source, is_tiny
    from slipstream.data.dataset import build_dataset
    from slipstream.evaluation.unrelated import unrelated_prompts
    from slipstream.training.drawing_model import Told, settle_drawing_model
    from slipstream.training.ranking_bench import lay_bench
    from slipstream.training.ranking_prompts import ask
    from slipstream.training.setting import dataset_settings
    from slipstream.training.validation_setting import hold_out

    told = Told(watch.log, watch.loading)
    folders = dataset_settings(config)
    trained, _ = hold_out(config, folders, build_dataset(folders))
    asked = ask(config, trained, request.num_prompts, request.num_seeds)
    panel = config.quantization
    base = Base(config.model.name_or_path, extras_source(config.model), panel.transformer, panel.text_encoder)
    model = settle_drawing_model(base, request.device, told)
    each = len(asked.of_a_checkpoint)
    loras = len(checkpoints) + len(WEIGHTS) - 1  # weight 1 is measured already
    total = len(asked.way) + (1 + loras) * each
    watch.log(
        f"{len(checkpoints)} checkpoints: {total} pictures of {asked.side} x {asked.side}, {each} with each LoRA, "
        f"{asked.concept[0].steps} steps"
    )
    drawing = _Drawing(watch, told, total, what="the base's own pictures")
    probes = unrelated_prompts(is_tiny=is_tiny(config.model.name_or_path))
    any_lora = LoraUse(checkpoints[0].path)
    return lay_bench(model, asked, probes, any_lora, told, drawing.drawn), drawing


def _figures(
    run: RunDir, one: Checkpoint, weight: float, found: Measured, rows: Sequence[Mapping[str, float]]
) -> Figures:  # fmt: skip
    repeats = [nearest.memorised for nearest in found.nearest]
    return Figures(
        step=one.step,
        file=one.path.relative_to(run.path).as_posix(),
        weight=weight,
        strength=found.strength,
        taught=found.taught,
        drift=found.drift,
        light=found.light,
        leak_same=found.leak.same,
        leak_unrelated=found.leak.unrelated,
        diversity=found.diversity,
        memorised=sum(repeats) / len(repeats),
        nearest=fmean(nearest.share for nearest in found.nearest),
        held_out_rise=held_out_rise(rows, one.step),
    )


def _settings(config: RunConfig, bench: Bench, request: RankRequest) -> dict[str, Any]:
    asked, first = bench.asked, bench.asked.concept[0]
    return {
        "model": config.model.name_or_path,
        "trigger_word": config.job.trigger_word,
        "side": asked.side,
        "steps": first.steps,
        "guidance_scale": first.guidance_scale,
        "num_seeds": request.num_seeds,
        "pictures_of_a_checkpoint": len(asked.of_a_checkpoint),
        "training_pictures": len(asked.examples),
        "device": str(bench.model.model.device),
        "concept_prompts": list(dict.fromkeys(picture.prompt for picture in asked.concept)),
        "taught_prompts": [picture.prompt for picture in asked.taught],
        "same_prompts": [picture.prompt for picture in asked.same],
        "unrelated_prompts": list(dict.fromkeys(picture.prompt for picture in asked.unrelated)),
    }


def _notes(config: RunConfig, bench: Bench, rows: Sequence[object]) -> Iterator[str]:
    """What was not measured, or means something else than usual."""
    if not bench.asked.same:
        yield (
            "The run has no trigger word: all its previews count as asking for the concept, and the leak is that into "
            "unrelated prompts alone."
        )
    if not bench.asked.is_new:
        yield (
            "The run has no trigger word and no previews, so the strength is that of training captions: what is "
            "learned by heart counts as learned."
        )
    if not rows:
        yield "The run was trained without training.validation, so no held-out loss counts against any checkpoint."
    if config.model.variant != "turbo":
        yield "Drift is measured against the run's own base; the limits of the light were found for Turbo."

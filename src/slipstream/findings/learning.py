"""Too much learned, or too little: what the loss on held-out pictures and the previews say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from slipstream.config.advice import (
    FEW_IMAGES,
    LARGE_RANK,
    STEPS_BELOW_TEN_IMAGES,
    STEPS_FOR_THIRTY_IMAGES,
    USUAL_IMAGES,
    USUAL_RATE,
)
from slipstream.config.target import ALL_BLOCKS, TARGET_MODULES
from slipstream.findings.facts import Row, RunFacts
from slipstream.findings.finding import Finding, Line, Value, line
from slipstream.findings.remedies import calmer, earlier_checkpoint
from slipstream.runs.validation import LEVEL, best_row, level_keys

PATIENCE = 3
WORTH_TELLING = 0.01
"""Rise of the held-out loss above its lowest that counts as one: less is within what a few pictures can say."""
SHARE_LOST = 0.1
"""Share of what training had gained on held-out pictures, lost again, that makes such a rise overfitting."""
LARGE_RISE = 0.05
"""A rise that is overfitting whatever had been gained: a gain may be the adapter's work undone, not learning."""
HARDLY = 0.005
"""Gain on held-out pictures that counts as none."""
SAME_PICTURE = 0.01
"""Mean change of a preview, of the full range of values, below which the eye sees the same picture."""
USUAL_RANK = 16
SMALL_RANK = 8
LOW_RATE = 5e-5
WORSE_DETAILS = 0.05
"""Rise of the held-out loss at a low noise level above its value before training that is worth a hint."""
DETAIL, COMPOSITION = 0.3, 0.7
"""Noise levels up to which details are decided, and from which composition is."""


def samples_per_step(facts: RunFacts) -> int:
    """Pictures that an update learns from."""
    training = facts.config.training
    return training.batch_size * training.gradient_accumulation


def usual_samples(num_images: int) -> tuple[int, int]:
    """Updates at batch 1 that the guide gives a set of so many pictures, at least and at most."""
    return STEPS_BELOW_TEN_IMAGES if num_images < FEW_IMAGES else STEPS_FOR_THIRTY_IMAGES


def overfitting(facts: RunFacts) -> Finding | None:
    """The loss on held-out pictures rose again."""
    found = _past_best(facts)
    if found is None:
        return None
    first, best, last = found
    gained = first["loss"] - best["loss"] if first["step"] == 0 else best["loss"]
    rise = last["loss"] / best["loss"] - 1
    if rise < WORTH_TELLING or (rise < LARGE_RISE and last["loss"] - best["loss"] < SHARE_LOST * gained):
        return None
    step = int(best["step"])
    seen = [line("overfitting.rose", step=step, best=best["loss"], last=last["loss"], rise=rise)]
    if (level := _level_that_rose_most(best, last)) is not None:
        seen.append(line("overfitting.level", level=level))
    seen += _repeats(facts, step)
    change, settings = _until(facts, step, "change.steps")
    if facts.config.target.rank > LARGE_RANK:
        change.append(line("change.smaller_rank", rank=facts.config.target.rank, value=USUAL_RANK))
        settings["target.rank"] = USUAL_RANK
    if (facts.num_images or USUAL_IMAGES) < FEW_IMAGES:
        change.append(line("change.more_images", images=facts.num_images or 0))
    return Finding("overfitting", "warning", tuple(seen), tuple(change), settings, "validation")


def plateau(facts: RunFacts) -> Finding | None:
    """The held-out loss has not fallen for a while, and did not rise much either."""
    found = _past_best(facts)
    if found is None or overfitting(facts) is not None:
        return None
    _, best, last = found
    step = int(best["step"])
    seen = line("plateau.flat", step=step, best=best["loss"], last=last["loss"], at=int(last["step"]))
    change, settings = _until(facts, step, "change.fewer_steps")
    return Finding("plateau", "hint", (seen,), tuple(change), settings, "validation")


def learns_nothing(facts: RunFacts) -> Finding | None:
    """No measurement on held-out pictures was ever below the one before training."""
    rows = facts.validation
    best = best_row(rows)
    if best is None or best["step"] != 0 or len(rows) <= _patience(facts):
        return None
    calm, settings = calmer(facts)
    seen = line("learns_nothing.above", before=best["loss"], count=len(rows) - 1, last=rows[-1]["loss"])
    return Finding(
        "learns_nothing", "warning", (seen,), (calm, line("learns_nothing.same_kind")), settings, "validation"
    )


def seen_often(facts: RunFacts) -> Finding | None:
    """Few pictures, trained many times, and nothing was held out to tell whether they are known by heart."""
    images = facts.num_images
    if not images or images > USUAL_IMAGES or facts.validation or facts.is_tiny:
        return None
    _, high = usual_samples(images)
    samples = facts.step * samples_per_step(facts)
    if samples <= high:
        return None
    seen = line("cause.repeats", images=images, repeats=samples / images, usual=high / images)
    steps = max(1, high // samples_per_step(facts))
    return Finding(
        "seen_often", "hint", (seen,),
        (line("seen_often.compare"), line("change.fewer_steps", steps=steps), line("seen_often.hold_out")),
        {"training.steps": steps, "training.validation.fraction": 0.1}, "previews",
    )  # fmt: skip


def too_weak(facts: RunFacts) -> Finding | None:
    """At the end neither the held-out loss nor the previews show that much was learned."""
    if facts.progress.state != "finished":
        return None
    seen = [*_small_gain(facts), *_same_pictures(facts)]
    if not seen:
        return None
    causes, change, settings = _reasons_for_weakness(facts)
    return Finding(
        "too_weak", "warning", (*seen, *causes), change, settings, "validation" if facts.validation else "previews"
    )


def messy_details(facts: RunFacts) -> Finding | None:
    """Composition was learned while details got worse than before training."""
    rows = facts.validation
    if len(rows) <= _patience(facts) or rows[0]["step"] != 0:
        return None
    change_at = {
        float(key.removeprefix(LEVEL)): rows[-1][key] / rows[0][key] - 1
        for key in level_keys(rows)
        if rows[0].get(key) and key in rows[-1]
    }
    details = {level: change for level, change in change_at.items() if level <= DETAIL}
    rough = [change for level, change in change_at.items() if level >= COMPOSITION]
    if not details or not rough:
        return None
    level = max(details, key=details.__getitem__)
    gain = -min(rough)
    if details[level] < WORSE_DETAILS or gain < details[level]:
        return None
    bias = "balanced" if facts.config.training.timestep_bias == "high_noise" else "low_noise"
    return Finding(
        "messy_details", "hint", (line("messy_details.worse", level=level, rise=details[level], gain=gain),),
        (line("messy_details.pictures"), line("messy_details.bias", value=bias)),
        {"training.timestep_bias": bias}, "validation",
    )  # fmt: skip


def _patience(facts: RunFacts) -> int:
    panel = facts.config.training.validation
    return panel.patience if panel is not None else PATIENCE


def _past_best(facts: RunFacts) -> tuple[Row, Row, Row] | None:
    """The first, the best and the last measurement, where the best was after the first and is long past."""
    rows = facts.validation
    best = best_row(rows)
    if best is None or best["step"] == 0 or sum(row["step"] > best["step"] for row in rows) < _patience(facts):
        return None
    return rows[0], best, rows[-1]


def _level_that_rose_most(best: Row, last: Row) -> float | None:
    keys = [key for key in level_keys([last]) if best.get(key)]
    rises = {key: last[key] / best[key] - 1 for key in keys}
    most = max(rises, key=rises.__getitem__, default=None)
    return None if most is None or rises[most] <= 0 else float(most.removeprefix(LEVEL))


def _repeats(facts: RunFacts, step: int) -> list[Line]:
    """How often each picture had been learned from by then, and by now."""
    if not facts.num_images:
        return []
    per_step = samples_per_step(facts) / facts.num_images
    return [line("overfitting.repeats", images=facts.num_images, then=step * per_step, now=facts.step * per_step)]


def _until(facts: RunFacts, step: int, words: str) -> tuple[list[Line], dict[str, Value]]:
    """To use the checkpoint of a step, the newest before it, or to have one next time; and to train to there only."""
    settings: dict[str, Value] = {"training.steps": step}
    fewer = line(words, steps=step)
    saved = earlier_checkpoint(facts, step)
    if saved:
        return [*saved, fewer], settings
    steps = [int(row["step"]) for row in facts.validation]
    every = min((late - early for early, late in pairwise(steps)), default=step)
    return [fewer, line("change.save_every", value=every)], {**settings, "save.every": every}


def _small_gain(facts: RunFacts) -> list[Line]:
    rows, best = facts.validation, best_row(facts.validation)
    if best is None or best["step"] == 0 or rows[0]["step"] != 0:
        return []
    gain = 1 - best["loss"] / rows[0]["loss"]
    return [line("too_weak.gain", before=rows[0]["loss"], best=best["loss"], gain=gain)] if gain < HARDLY else []


def _same_pictures(facts: RunFacts) -> list[Line]:
    changes = facts.pictures
    if changes is None or changes.wanted >= SAME_PICTURE:
        return []
    return [line("too_weak.pictures", change=changes.wanted, step=changes.step)]


def _reasons_for_weakness(facts: RunFacts) -> tuple[Sequence[Line], tuple[Line, ...], Mapping[str, Value]]:
    """(what likely weakened it, what to change, the settings)."""
    target = facts.config.target
    causes: list[Line] = []
    change: list[Line] = []
    settings: dict[str, Value] = {}
    if facts.rate is not None and facts.rate < LOW_RATE:
        causes.append(line("cause.low_rate", rate=facts.rate, usual=USUAL_RATE))
        change.append(line("change.higher_rate", value=USUAL_RATE))
        settings["training.learning_rate"] = USUAL_RATE
    if target.rank < SMALL_RANK:
        causes.append(line("cause.small_rank", rank=target.rank))
        change.append(line("change.larger_rank", value=USUAL_RANK))
        settings["target.rank"] = USUAL_RANK
    if target.blocks != ALL_BLOCKS or target.target_modules != TARGET_MODULES or target.exclude_modules:
        modules = (facts.manifest.get("lora") or {}).get("modules") or 0
        causes.append(line("cause.few_modules", modules=modules))
        change.append(line("change.all_modules"))
        settings["target.blocks"] = ALL_BLOCKS
    images = facts.num_images or 0
    low, _ = usual_samples(images)
    if images and not facts.is_tiny and facts.step * samples_per_step(facts) < low:
        causes.append(line("cause.short", samples=facts.step * samples_per_step(facts), usual=low, images=images))
        steps = -(-low // samples_per_step(facts))
        change.append(line("change.more_steps", steps=steps))
        settings["training.steps"] = steps
    if not change:
        change = [line("too_weak.captions"), line("change.more_steps", steps=2 * facts.steps)]
        settings["training.steps"] = 2 * facts.steps
    return causes, tuple(change), settings

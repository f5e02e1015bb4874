"""Out of memory, and time that could be saved."""

from __future__ import annotations

import math
from statistics import median

from slipstream.findings.facts import RunFacts
from slipstream.findings.finding import Finding, Line, Value, line

SLOWER = 1.5
"""Times the planned seconds an update takes, from which something is amiss."""
WARM_UP_UPDATES = 20
"""Compilation and graphs come in the first updates."""
MEDIAN_OF = 200
MANY_PREVIEWS = 0.3
LONG_SECONDS = 600.0
HALF_EMPTY = 0.6
HIGHEST = 1024
FULL_SIZE = frozenset({"bf16", "fp32", "auto"})


def out_of_memory(facts: RunFacts) -> Finding | None:
    """The device ran out of memory: the run ended so, or went on with less."""
    count, failed = facts.log.out_of_memory, facts.progress.state == "failed"
    ended = failed and "out of memory" in facts.progress.message
    if not count and not ended:
        return None
    seen: list[Line] = []
    if count:
        seen.append(line("out_of_memory.again", count=count, remedy=facts.log.remedy))
    if ended:
        seen.append(line("out_of_memory.ended", step=facts.step))
    change, settings = _smaller(facts)
    return Finding("out_of_memory", "problem" if ended else "hint", tuple(seen), change, settings, "timings")


def _smaller(facts: RunFacts) -> tuple[tuple[Line, ...], dict[str, Value]]:
    """What needs less memory, in the guide's order, as far as the run has not done it."""
    config = facts.config
    change: list[Line] = []
    settings: dict[str, Value] = {}
    if config.training.gradient_checkpointing not in ("auto", "full"):
        change.append(line("change.checkpointing", value="auto"))
        settings["training.gradient_checkpointing"] = "auto"
    highest = max(max(panel.resolutions) for panel in config.datasets)
    if highest > HIGHEST and not facts.is_tiny:
        change.append(line("change.high_buckets", highest=highest, value=HIGHEST))
    if config.training.batch_size > 1:
        accumulation = config.training.gradient_accumulation * config.training.batch_size
        change.append(line("change.batch", value=accumulation))
        settings |= {"training.batch_size": 1, "training.gradient_accumulation": accumulation}
    if config.quantization.transformer in ("bf16", "fp32"):
        change.append(line("change.quantize", value="auto"))
        settings["quantization.transformer"] = "auto"
    if config.quantization.layer_offloading == 0:
        change.append(line("change.offload", value="auto"))
        settings["quantization.layer_offloading"] = "auto"
    if not change:
        change.append(line("change.float8", value="float8"))
        settings["quantization.transformer"] = "float8"
    return tuple(change), settings


def slower_than_planned(facts: RunFacts) -> Finding | None:
    """An update takes much longer than the plan for this GPU said."""
    planned = (facts.manifest.get("plan") or {}).get("seconds_per_step")
    pace = _pace(facts)
    if not planned or pace is None or pace < SLOWER * planned:
        return None
    seen = line("slower.pace", pace=pace, planned=planned, times=pace / planned)
    return Finding("slower", "hint", (seen,), (line("slower.others"), line("slower.plan")), {}, "timings")


def time_wasted(facts: RunFacts) -> Finding | None:
    """Settings that save memory which nobody needs, or make again what could be kept."""
    config, pace = facts.config, _pace(facts)
    if pace is None or facts.is_tiny:
        return None
    seen: list[Line] = []
    settings: dict[str, Value] = {}
    for number, panel in enumerate(config.datasets):
        if not panel.cache_latents:
            seen.append(line("wasted.latents", number=number))
            settings[f"datasets.{number}.cache_latents"] = True
    if config.training.text_encoder == "keep":
        seen.append(line("wasted.text_encoder"))
        settings["training.text_encoder"] = "cache"
    total, peak = facts.manifest.get("device_gib"), facts.progress.memory_gib
    if total and peak and peak < HALF_EMPTY * total:
        spared = _spared(facts)
        if spared:
            names = ", ".join(f"{name}={value}" for name, value in _as_set(facts, spared).items())
            seen.append(line("wasted.memory", peak=peak, total=total, settings=names))
            settings |= spared
    if not seen:
        return None
    return Finding(
        "wasted", "hint", (line("wasted.pace", pace=pace), *seen), (line("wasted.set"),), settings, "timings"
    )


def _spared(facts: RunFacts) -> dict[str, Value]:
    """Settings that save memory and were set by hand, as the planner would rather choose them."""
    config = facts.config
    found: dict[str, Value] = {}
    if config.training.gradient_checkpointing not in ("auto", "none"):
        found["training.gradient_checkpointing"] = "auto"
    if config.quantization.transformer not in FULL_SIZE | {"float8"}:
        found["quantization.transformer"] = "auto"
    if config.quantization.layer_offloading not in ("auto", 0):
        found["quantization.layer_offloading"] = "auto"
    return found


def _as_set(facts: RunFacts, names: dict[str, Value]) -> dict[str, Value]:
    return {name: getattr(getattr(facts.config, name.split(".")[0]), name.split(".")[1]) for name in names}


def previews_cost(facts: RunFacts) -> Finding | None:
    """Much of the time went into previews."""
    total, drawn = math.fsum(facts.seconds.values()), facts.seconds.get("previews", 0.0)
    sample = facts.config.sample
    if total < LONG_SECONDS or drawn < MANY_PREVIEWS * total or not sample.every:
        return None
    value = 2 * sample.every
    seen = line("previews_cost.share", minutes=drawn / 60, share=drawn / total, prompts=len(sample.prompts))
    return Finding(
        "previews_cost", "hint", (seen,), (line("previews_cost.less", every=sample.every, value=value),),
        {"sample.every": value}, "timings",
    )  # fmt: skip


def _pace(facts: RunFacts) -> float | None:
    """Median seconds of the newest updates; None where there are too few."""
    rows = facts.rows[WARM_UP_UPDATES:][-MEDIAN_OF:]
    seconds = [row["seconds"] for row in rows if isinstance(row.get("seconds"), int | float)]
    return median(seconds) if len(seconds) >= WARM_UP_UPDATES else None

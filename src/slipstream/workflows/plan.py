"""What a training would do, found out without doing it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipstream.config.advice import advise
from slipstream.config.run_config import RunConfig

if TYPE_CHECKING:
    from slipstream.models.z_image.hub import OnDownload
    from slipstream.training.setting import Setting


@dataclass(frozen=True)
class BucketRow:
    """One bucket: its size, how many pictures fall into it, and samples per epoch with repeats."""

    width: int
    height: int
    examples: int
    samples: int


@dataclass(frozen=True)
class CacheState:
    """How much of what training needs is on disk already."""

    name: str
    cached: int
    needed: int


@dataclass(frozen=True)
class MemoryShare:
    """What one kind of thing takes of the GPU while the LoRA learns."""

    name: str
    gib: float


@dataclass(frozen=True)
class Plan:
    """The answer of `slipstream plan`."""

    name: str
    choices: tuple[str, ...]
    num_images: int
    buckets: tuple[BucketRow, ...]
    notes: tuple[str, ...]
    caches: tuple[CacheState, ...]
    steps: int
    samples_per_step: int
    steps_per_epoch: float
    num_checkpoints: int
    num_preview_sets: int
    pictures_per_set: int
    pictures_of_sweep: int
    seconds_per_step: float
    speed_source: str
    memory: str
    memory_shares: tuple[MemoryShare, ...]
    """The peak of a step by what takes it."""
    memory_peaks: tuple[MemoryShare, ...]
    """The peak of each phase by its name, where a GPU was planned for; else nothing."""
    advice: tuple[str, ...]

    @property
    def epochs(self) -> float:
        """How often every sample is seen."""
        return self.steps / self.steps_per_epoch

    @property
    def training_seconds(self) -> float:
        """Updates alone, without loading and previews."""
        return self.steps * self.seconds_per_step


def make_plan(config: RunConfig, on_download: OnDownload | None = None) -> Plan:
    """Scan the data, resolve the model, look into the caches, estimate the time; loads no weights.

    What is not on this machine yet is downloaded; `on_download` is told.

    Raises:
        SlipstreamError: whatever would stop the training before its first step.
    """
    from slipstream.data.encode import count_missing_latents
    from slipstream.memory.plan import GIB
    from slipstream.training.dataset_facts import num_learned
    from slipstream.training.memory_forecast import expected_memory
    from slipstream.training.setting import settle
    from slipstream.training.speed import expected_seconds_per_step

    setting = settle(config, on_download)
    dataset = setting.dataset
    seconds, source = expected_seconds_per_step(setting)
    missing_latents = sum(
        count_missing_latents(one, setting.model.latent_identity, setting.latent_cache) for one in setting.datasets
    )
    cached = [example for one in setting.datasets for example in one.examples if example.cache_latents]
    views = sum(len(example.views) for example in cached)
    forecast = expected_memory(setting)
    micro_steps = setting.sampler().batches_per_epoch
    return Plan(
        name=config.job.name,
        choices=tuple(setting.describe()),
        num_images=dataset.num_images,
        buckets=tuple(BucketRow(b.width, b.height, n, samples) for b, n, samples in dataset.bucket_table()),
        notes=tuple(setting.remarks()),
        caches=(CacheState("latents", views - missing_latents, views), *_caption_cache(setting)),
        steps=config.training.steps,
        samples_per_step=setting.samples_per_step,
        steps_per_epoch=micro_steps / config.training.gradient_accumulation,
        num_checkpoints=_times(config.training.steps, config.save.every),
        num_preview_sets=_times(config.training.steps, config.sample.every) + config.sample.at_start,
        pictures_per_set=len(setting.pictures),
        pictures_of_sweep=len(setting.pictures) * len(config.sample.lora_scales),
        seconds_per_step=seconds,
        speed_source=source,
        memory=forecast.line,
        memory_shares=tuple(MemoryShare(name, num_bytes / GIB) for name, num_bytes in forecast.memory.shares()),
        memory_peaks=peaks_of(setting),
        advice=tuple(advise(config, num_learned(dataset))),
    )


def peaks_of(setting: Setting) -> tuple[MemoryShare, ...]:
    """The highest use of GPU memory in each phase that the run has, by the plan; nothing on the CPU."""
    from slipstream.memory.plan import GIB

    peaks = {} if setting.plan is None else setting.plan.chosen.peaks
    return tuple(MemoryShare(phase, peak / GIB) for phase, peak in peaks.items() if peak)


def _caption_cache(setting: Setting) -> tuple[CacheState, ...]:
    """Nothing where the text encoder stays loaded."""
    from slipstream.data.encode import count_missing_captions

    if setting.config.training.text_encoder == "keep":
        return ()
    missing = count_missing_captions(setting.captions, setting.model.text_identity, setting.text_cache)
    return (CacheState("captions", len(setting.captions) - missing, len(setting.captions)),)


def _times(steps: int, every: int) -> int:
    return math.ceil(steps / every) if every else 1

"""Which plan trains a job on a machine: every candidate's peak by phase and seconds a step, and the one that is taken.

Exact weights come first, then speed: bf16 that stays on the device is taken wherever it fits, however much is made
again; then the fastest of 8 bits and of bf16 that is streamed; 4 bits where nothing else fits. So a large card never
gets anything that saves memory, and what the user set is never weighed against anything.

Pure arithmetic: the same numbers give the same decision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Literal

from slipstream.memory.candidate import Candidate, Choice
from slipstream.memory.cost import Work, step_seconds
from slipstream.memory.estimate import (
    DRAWING_BYTES,
    USABLE_SHARE,
    WORKSPACE_BYTES,
    ModelSizes,
    block_bytes,
    block_weights,
    joint_padding_bytes,
    optimizer_bytes,
    reserve_bytes,
    trained_bytes,
    weight_bytes,
)
from slipstream.memory.plan import GIB, UNLIMITED, LevelPlan, plan_levels

PRECISIONS = ("bf16", "float8", "int8", "nf4")
"""Of the transformer, in the order in which equally fast ones are preferred."""
TEXT_PRECISIONS = ("bf16", "float8", "nf4")

_ENCODER_WORKSPACE = int(1.2 * GIB)
"""Hidden states of 4,096 tokens at every layer, and one layer's own."""
_VAE_BYTES = int(0.17 * GIB)
_ENCODE_BYTES, _DECODE_BYTES, _DRAW_BYTES = int(1.6 * GIB), int(2.5 * GIB), int(0.25 * GIB)
"""A picture of 1024 x 1024: into latents, out of latents, and a prediction without gradients."""
_MEGAPIXEL = 1 << 20
_MOST_PREVIEWS = 8
_RING_BLOCKS = 2
"""Blocks' weights that lie on the device at once while they are streamed."""
_HOST_MARGIN = 1.5
"""Host memory that must be there for every byte that moves to it."""


@dataclass(frozen=True)
class Machine:
    """A GPU and its host, as measured.

    Attributes:
        name: of the GPU.
        capability: compute capability.
        free_bytes, total_bytes: of the GPU; free is what this process could take.
        host_bytes: that programs could still take.
        pcie_gbps: from pinned host memory, in 10^9 bytes a second.
        bf16_tflops: of a large product.
        float8: it multiplies float8.
    """

    name: str
    capability: tuple[int, int]
    free_bytes: int
    total_bytes: int
    host_bytes: int
    pcie_gbps: float
    bf16_tflops: float
    float8: bool


@dataclass(frozen=True)
class Fixed:
    """What the user set; None is left to the planner.

    Attributes:
        transformer, text_encoder: precision.
        compute_dtype: `bf16` or `float8`.
        activations: bytes for what blocks keep: UNLIMITED for everything, 0 for the least.
        folds: whether the training adapter is added into the weights; a run that goes on keeps that too.
    """

    transformer: str | None = None
    text_encoder: str | None = None
    compute_dtype: str | None = None
    activations: int | None = None
    folds: bool | None = None


@dataclass(frozen=True)
class Job:
    """A training, as far as memory and time go.

    Attributes:
        sizes: of the transformer.
        bits: of a weight by scheme.
        batches: (samples, tokens in all, share of the updates) of every size.
        rank: of the LoRA.
        num_trained: its parameters.
        optimizer: by its name in a config.
        ema: whether an average is kept.
        plain_lora: the fused blocks take it.
        adapter_bytes: of the training adapter; 0 where there is none.
        adapter_rank: of its branches.
        rank_multiple: ranks of a joint matrix are padded to a multiple of this.
        text_parameters: of the text encoder.
        encodes: captions are missing from the cache.
        keeps_encoder: it stays loaded while training.
        pixels: of the largest picture that is encoded.
        preview_pixels: of the largest preview, guidance counted twice; 0 without previews.
        num_previews: pictures of a set.
        offload_percents: shares of the blocks' weights that may be kept in host memory and streamed.
        fixed: what the user set.
    """

    sizes: ModelSizes
    bits: Mapping[str, float]
    batches: Sequence[tuple[int, int, float]]
    rank: int
    num_trained: int
    optimizer: str
    ema: bool = False
    plain_lora: bool = True
    adapter_bytes: int = 0
    adapter_rank: int = 64
    rank_multiple: int = 64
    text_parameters: int = 4_022_468_096
    encodes: bool = True
    keeps_encoder: bool = False
    pixels: int = _MEGAPIXEL
    preview_pixels: int = _MEGAPIXEL
    num_previews: int = 1
    offload_percents: tuple[int, ...] = (0,)
    fixed: Fixed = Fixed()

    @property
    def most_tokens(self) -> int:
        """Of the largest batch."""
        return max(tokens for _, tokens, _ in self.batches)


@dataclass(frozen=True)
class Decision:
    """The plan that is taken, the best one of another kind, and why.

    Attributes:
        chosen: the best that fits; the smallest where none does.
        runner_up: the best that keeps the transformer otherwise, None where the user leaves no other.
        reasons: one line each.
        warning: that nothing fits, and what would.
    """

    chosen: Candidate
    runner_up: Candidate | None
    reasons: tuple[str, ...]
    warning: str | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """For the log and `slipstream plan`."""
        other = () if self.runner_up is None else (f"  next best: {self.runner_up.describe()}",)
        warning = () if self.warning is None else (f"warning: {self.warning}",)
        return (
            f"plan: {self.chosen.describe()}",
            *(f"  {line}" for line in self.reasons),
            f"  {self.chosen.phases}",
            *other,
            *warning,
        )


def decide(machine: Machine, job: Job) -> Decision:
    """The plan of a job on a machine."""
    ranked = rank_candidates(machine, job)
    chosen = ranked[0] if ranked[0].fits else min(ranked, key=lambda one: one.peak)
    others = [one for one in ranked if one.fits and one.choice.kind != chosen.choice.kind]
    return Decision(
        chosen, others[0] if others else None, _reasons(machine, job, ranked, chosen),
        None if chosen.fits else _what_would_fit(machine, job, chosen),
    )  # fmt: skip


def rank_candidates(machine: Machine, job: Job) -> list[Candidate]:
    """All candidates that respect what the user set, the best first."""

    def order(one: Candidate) -> tuple[float, ...]:
        choice, again = one.choice, not one.levels.keeps_everything
        return not one.fits, choice.exactness, round(one.seconds_per_step, 3), again, choice.ease, one.peak

    return sorted((predict(machine, job, choice) for choice in choices(machine, job)), key=order)


def choices(machine: Machine, job: Job) -> Iterator[Choice]:
    """Everything that could be chosen. Weights in bf16 are multiplied in bf16; those in float8 in float8 where the GPU
    does it and the user has not set otherwise."""
    fixed = job.fixed
    text = fixed.text_encoder or _text_precision(machine, job)
    for transformer, offload in product(
        (fixed.transformer,) if fixed.transformer else PRECISIONS, sorted(job.offload_percents)
    ):
        float8 = (
            transformer == "float8" and machine.float8 and job.plain_lora and fixed.compute_dtype != "bf16"
        )  # fmt: skip
        fused = job.plain_lora and (float8 or transformer == "bf16")
        if offload and not fused and (len(job.offload_percents) > 1 or fixed.transformer is None):
            continue  # only blocks that run as one function stream
        places: tuple[Literal["none", "gpu", "host", "live"], ...] = ("none",)
        if job.adapter_bytes:
            places = ("gpu", "host", "live") if fused and fixed.folds is not False else ("live",)
            places = places[:2] if fused and fixed.folds else places
        for place, transposed in product(places, (True, False) if float8 else (False,)):
            yield Choice(transformer, "float8" if float8 else "bf16", fused, place, transposed, text, 1, offload)


def predict(machine: Machine, job: Job, choice: Choice) -> Candidate:
    """Peaks and time of one choice."""
    element = 4 if choice.transformer == "fp32" else 2
    weights, on_host = _weights(job, choice, element)
    branches = trained_bytes(job.num_trained, ema=job.ema)
    branches += job.adapter_bytes if choice.adapter == "live" else 0
    resident = weights + branches + optimizer_bytes(job.num_trained, job.optimizer) + WORKSPACE_BYTES
    if job.keeps_encoder:
        resident += _encoder_bytes(job, choice.text_encoder)
    vae = _VAE_BYTES if job.preview_pixels else 0
    reserve = reserve_bytes(machine.free_bytes)
    room = max(0, int((machine.free_bytes - resident - vae - reserve) * USABLE_SHARE))
    budget = room if job.fixed.activations is None else job.fixed.activations
    block = block_bytes(
        job.sizes, fused=choice.fused, rank=job.rank, element=element, float8=choice.products == "float8"
    )
    levels = partial(plan_levels, budget, num_blocks=job.sizes.num_blocks, block=block)
    largest = levels(job.most_tokens)
    at_once = min(_MOST_PREVIEWS, job.num_previews) if largest.keeps_everything else 1
    peaks = {
        "captions": _encoder_bytes(job, choice.text_encoder) if job.encodes or job.keeps_encoder else 0,
        "latents": _VAE_BYTES + _ENCODE_BYTES * job.pixels // _MEGAPIXEL,
        "load": weights + vae + GIB // 4,
        "train": resident + vae + largest.peak_bytes,
        "previews": resident + vae + _drawing_bytes(job, at_once) if job.preview_pixels else 0,
    }
    usable = machine.free_bytes - reserve // 2
    fits = (
        largest.peak_bytes <= room
        and all(peak <= usable for peak in peaks.values())
        and on_host * _HOST_MARGIN <= machine.host_bytes
    )
    while_training = resident + vae + round(largest.peak_bytes / USABLE_SHARE) + reserve
    return Candidate(
        replace(choice, previews_at_once=at_once), peaks, _seconds(machine, job, choice, levels, room), fits, largest,
        host_bytes=on_host, needed=max(while_training, max(peaks.values()) + reserve // 2),
    )  # fmt: skip


def _weights(job: Job, choice: Choice, element: int) -> tuple[int, int]:
    """(bytes of the frozen weights on the device, bytes in host memory)."""
    bits = job.bits.get(choice.transformer)
    packable = round(job.sizes.packable * (bits / 8 if bits is not None else element))
    on_device, on_host = weight_bytes(job.sizes, element, bits), 0
    moved = _moved_bytes(job, choice, element)
    if moved:
        ring = _RING_BLOCKS * moved // _num_moved(job, choice)
        on_device, on_host = on_device - moved + min(moved, ring), moved
    if choice.fused and choice.products == "bf16":
        ranks = job.rank + (job.adapter_rank if choice.adapter == "live" else 0)
        on_device += joint_padding_bytes(job.sizes, ranks, element, job.rank_multiple)
    if choice.transposed:
        on_device += packable - moved
    if choice.adapter == "gpu":
        on_device, on_host = on_device + packable - moved, on_host + moved
    elif choice.adapter == "host":
        on_host += packable
    return on_device, on_host


def _num_moved(job: Job, choice: Choice) -> int:
    return round(job.sizes.num_blocks * choice.offload / 100)


def _moved_bytes(job: Job, choice: Choice, element: int) -> int:
    """The weights of the main blocks that stream."""
    bits = job.bits.get(choice.transformer, 8 * element)
    return round(_num_moved(job, choice) * block_weights(job.sizes.widths) * bits / 8)


def _seconds(machine: Machine, job: Job, choice: Choice, levels: partial[LevelPlan], room: int) -> float:
    """The mean over all sizes; one whose graph would not fit beside the largest one is launched kernel by kernel."""
    work = Work(
        fused=choice.fused, float8=choice.products == "float8",
        packed=choice.transformer if not choice.fused else None,
        transposes=choice.products == "float8" and not choice.transposed,
        live_adapter=choice.adapter == "live", streamed=2 * _moved_bytes(job, choice, 2),
        share_streamed=choice.offload / 100,
    )  # fmt: skip
    beside = room - levels(job.most_tokens).peak_bytes - DRAWING_BYTES

    def seconds(samples: int, tokens: int) -> float:
        plan = levels(tokens)
        return step_seconds(
            job.sizes, samples, tokens, plan.levels, replace(work, graphs=plan.peak_bytes <= beside),
            machine.bf16_tflops, machine.pcie_gbps,
        )  # fmt: skip

    return sum(share * seconds(samples, tokens) for samples, tokens, share in job.batches) / sum(
        share for _, _, share in job.batches
    )


def _encoder_bytes(job: Job, precision: str) -> int:
    bits = {"fp32": 32.0, "bf16": 16.0, **job.bits}[precision]
    return round(job.text_parameters * bits / 8) + _ENCODER_WORKSPACE


def _drawing_bytes(job: Job, at_once: int) -> int:
    return (_DECODE_BYTES + _DRAW_BYTES * at_once) * job.preview_pixels // _MEGAPIXEL


def _text_precision(machine: Machine, job: Job) -> str:
    """The most exact one with which the encoder is alone on the card."""
    usable = machine.free_bytes - reserve_bytes(machine.free_bytes) // 2
    return next((name for name in TEXT_PRECISIONS if _encoder_bytes(job, name) <= usable), TEXT_PRECISIONS[-1])


def _reasons(machine: Machine, job: Job, ranked: Sequence[Candidate], chosen: Candidate) -> tuple[str, ...]:
    free = f"{machine.free_bytes / GIB:.1f} are free"
    if job.fixed.transformer is not None:
        first = f"{chosen.choice.transformer}: as set, or as this run began; {free}"
    elif not chosen.fits:
        first = f"{chosen.choice.transformer}: needs the least, {chosen.needed / GIB:.1f} GiB; {free}"
    elif chosen.choice.exactness == 0:
        first = f"{chosen.choice.transformer}: nothing is rounded, and it fits; {free}"
    else:
        exact = min(one.needed for one in ranked if one.choice.transformer == "bf16" and not one.choice.offload)
        first = f"{chosen.choice.transformer}: bf16 would need {exact / GIB:.1f} GiB, {free}"
    lines = [first, f"activations: {chosen.levels.describe()}"]
    text = chosen.choice.text_encoder
    if job.encodes and job.fixed.text_encoder is None and text != "bf16":
        lines.append(f"text encoder {text}: bf16 would need {_encoder_bytes(job, 'bf16') / GIB:.1f} GiB, {free}")
    if chosen.choice.adapter == "host":
        lines.append(
            "training adapter: added into the weights; those without it wait in host memory for previews, since a "
            "second copy on the GPU would leave less for activations"
        )
    elif chosen.choice.adapter == "live":
        why = "no room for weights without it" if chosen.choice.fused else "packed weights take nothing up"
        lines.append(f"training adapter: runs beside the weights ({why})")
    return tuple(lines)


def _what_would_fit(machine: Machine, job: Job, chosen: Candidate) -> str:
    phase = max(chosen.peaks, key=lambda name: chosen.peaks[name])
    line = (
        f"this may not fit: {phase} needs {chosen.peak / GIB:.1f} GiB, with a margin {chosen.needed / GIB:.1f}, and "
        f"{machine.free_bytes / GIB:.1f} are free"
    )
    free_hand = replace(job, fixed=Fixed())
    fitting = [one for one in rank_candidates(machine, free_hand) if one.fits]
    if job.fixed != Fixed() and fitting:
        return f"{line}; with what the config sets left to the plan it would be: {fitting[0].describe()}"
    return f"{line}; lower the datasets' resolutions, training.batch_size or the size of the previews"


def everything_or_nothing(mode: str) -> int | None:
    """Bytes for activations by `none` and `full`; None for `auto`."""
    return {"none": UNLIMITED, "full": 0}.get(mode)

"""What `auto` comes to on a GPU: the planner's decision (`memory.planner`) from a config, and what it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from slipstream.config.checkpointing import budget_gib
from slipstream.config.layer_offloading import AUTO, percent_of
from slipstream.config.run_config import RunConfig
from slipstream.data.buckets import Bucket
from slipstream.memory.plan import GIB
from slipstream.memory.planner import Decision, Fixed, Job, Machine, decide, everything_or_nothing
from slipstream.models.z_image.fused_linear import RANK_MULTIPLE
from slipstream.models.z_image.names import MODULATED, block_linears
from slipstream.models.z_image.sizes import linear_shape, model_sizes
from slipstream.models.z_image.transformer_file import transformer_config
from slipstream.precision.schemes import SCHEMES
from slipstream.previews.render import Picture
from slipstream.reports.facts import read_object
from slipstream.runs.layout import RunDir
from slipstream.training.checkpoint import newest_step
from slipstream.training.device import Compute, choose_compute
from slipstream.training.keeping import CAPTION_TOKENS, tokens_of
from slipstream.training.targets import chosen_linears

OFFLOADS = (0, 20, 40, 60, 80, 100)
"""Percent of the blocks that `auto` weighs: 0, 6, 12, 18, 24 and 30 of 30."""


def plan_training(
    config: RunConfig, machine: Machine, parts: Mapping[str, Path], adapter: Path | None,
    buckets: Sequence[tuple[Bucket, int, int]], pictures: Sequence[Picture], before: Fixed | None = None,
) -> Decision:  # fmt: skip
    """The decision for a config.

    Args:
        config: what it sets stays as it is.
        machine: measured.
        parts: `transformer` and `text_encoder` of the model.
        adapter: the training adapter's file.
        buckets: (size, pictures, samples).
        pictures: the previews.
        before: what a run that goes on was planned with.
    """
    sizes = model_sizes(transformer_config(parts["transformer"]))
    size = config.training.batch_size
    return decide(
        machine,
        Job(
            sizes=sizes,
            bits={name: scheme.bits for name, scheme in SCHEMES.items()},
            batches=[(size, tokens_of(bucket, config), float(samples)) for bucket, _, samples in buckets],
            rank=config.target.rank,
            num_trained=num_trained(config, parts["transformer"]),
            optimizer=config.training.optimizer,
            ema=config.training.ema is not None,
            plain_lora=is_plain_lora(config),
            adapter_bytes=adapter.stat().st_size if adapter is not None else 0,
            rank_multiple=RANK_MULTIPLE,
            text_parameters=_parameters(parts["text_encoder"]),
            keeps_encoder=config.training.text_encoder == "keep",
            pixels=max(bucket.width * bucket.height for bucket, _, _ in buckets),
            preview_pixels=max(
                (one.width * one.height * (2 if one.uses_guidance else 1) for one in pictures), default=0
            ),
            num_previews=len(pictures),
            offload_percents=offload_percents(config),
            fixed=fixed_by(config, before),
        ),
    )


def offload_percents(config: RunConfig) -> tuple[int, ...]:
    """Shares of the blocks that may stream: what the config sets, or all of these."""
    asked = config.quantization.layer_offloading
    return OFFLOADS if asked == AUTO else (percent_of(asked),)


def usual_job() -> Job:
    """A LoRA of rank 16 on the 6B with its training adapter, one picture of 1024 x 1024 an update."""
    sizes = model_sizes({})
    summed = sizes.num_blocks * sum(sum(linear_shape(name, sizes.widths)) for name in MODULATED)
    return Job(
        sizes=sizes,
        bits={name: scheme.bits for name, scheme in SCHEMES.items()},
        batches=[(1, 4096 + CAPTION_TOKENS, 1.0)],
        rank=16,
        num_trained=16 * summed,
        optimizer="adamw8bit",
        adapter_bytes=2 * 64 * summed,
        rank_multiple=RANK_MULTIPLE,
        offload_percents=OFFLOADS,
    )


def fixed_by(config: RunConfig, before: Fixed | None = None) -> Fixed:
    """What the config sets, and for the rest what a run that goes on was planned with."""
    panel, mode = config.quantization, config.training.gradient_checkpointing
    amount = budget_gib(mode)
    before = before or Fixed()
    if panel.transformer not in ("auto", before.transformer):
        before = Fixed(text_encoder=before.text_encoder)  # the rest belonged to other weights
    return Fixed(
        transformer=panel.transformer if panel.transformer != "auto" else before.transformer,
        text_encoder=panel.text_encoder if panel.text_encoder != "auto" else before.text_encoder,
        compute_dtype=panel.compute_dtype if panel.compute_dtype != "auto" else before.compute_dtype,
        activations=int(amount * GIB) if amount is not None else everything_or_nothing(mode),
        folds=before.folds,
    )


def as_planned(config: RunConfig, compute: Compute, plan: Decision) -> Compute:
    """The precisions that `auto` stands for, and where what is needed twice lies."""
    choice, panel = plan.chosen.choice, config.quantization

    def asked(name: str, planned: str) -> str:
        return name if name != "auto" or planned == "bf16" else planned

    decided = choose_compute(
        config.job.device, asked(panel.transformer, choice.transformer), asked(panel.text_encoder, choice.text_encoder),
        panel.compute_dtype if panel.compute_dtype != "auto" else choice.products, by_plan=(
            panel.transformer == "auto", panel.text_encoder == "auto", panel.compute_dtype == "auto",
        ),
    )  # fmt: skip
    return replace(decided, adapter_on=choice.adapter, keep_transposed=choice.transposed)


def remembered(plan: Decision | None) -> dict[str, Any] | None:
    """For the manifest: what decides a training's numbers, so that a run that goes on keeps it."""
    if plan is None:
        return None
    choice = plan.chosen.choice
    return {
        "transformer": choice.transformer, "text_encoder": choice.text_encoder, "compute_dtype": choice.products,
        "folds": choice.adapter in ("gpu", "host") if choice.fused and choice.adapter != "none" else None,
        "peaks_gib": {phase: round(peak / GIB, 2) for phase, peak in plan.chosen.peaks.items()},
        "seconds_per_step": round(plan.chosen.seconds_per_step, 4),
    }  # fmt: skip


def planned_before(run: RunDir) -> Fixed | None:
    """What `remembered` wrote, where the run has a checkpoint to go on from."""
    plan = read_object(run.manifest).get("plan")
    if not isinstance(plan, dict) or not newest_step(run.checkpoints):
        return None
    return Fixed(**{name: plan.get(name) for name in ("transformer", "text_encoder", "compute_dtype", "folds")})


def num_trained(config: RunConfig, transformer: Path) -> int:
    """Parameters of a plain LoRA on the chosen linears; other kinds are about as large."""
    widths = model_sizes(transformer_config(transformer)).widths
    shapes = [linear_shape(name, widths) for name in chosen_linears(config, block_linears(transformer))]
    return config.target.rank * sum(outputs + inputs for outputs, inputs in shapes)


def is_plain_lora(config: RunConfig) -> bool:
    """Whether fused blocks take the LoRA."""
    target = config.target
    drops = target.dropout or target.rank_dropout or target.module_dropout
    return target.type == "lora" and target.init != "pissa" and not drops


def _parameters(folder: Path) -> int:
    """Of weights that are stored in 16 bits."""
    files = [folder] if folder.is_file() else list(folder.glob("*.safetensors"))
    return sum(file.stat().st_size for file in files) // 2

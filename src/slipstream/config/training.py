"""TRAINING: how long, how fast, and on which noise levels the LoRA learns."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    StrictFloat,
    StrictInt,
    ValidationInfo,
)

from slipstream.config.panel import PANEL

OptimizerName = Literal["adamw", "adamw8bit"]
LrSchedule = Literal["constant", "cosine", "linear", "polynomial", "cosine_restarts", "rex"]
LossType = Literal["mse", "mae", "huber"]
TimestepType = Literal["weighted", "sigmoid", "linear", "shift"]
TextEncoderUse = Literal["cache", "keep", "unload"]
TimestepBias = Literal["balanced", "high_noise", "low_noise"]
GradientCheckpointing = Literal["none", "full"]


def _explain_checkpointing(value: Any) -> Any:
    """Other trainers have a switch here; everything else is left to the Literal."""
    if isinstance(value, bool):
        raise ValueError(
            f"got {str(value).lower()}, expected none or full: {'full' if value else 'none'} is what you mean"
        )
    return "none" if value is None else value


def _warm_up_ends(warmup_steps: int, info: ValidationInfo) -> int:
    steps = info.data.get("steps")
    if steps is not None and warmup_steps >= steps:
        raise ValueError(
            f"got {warmup_steps}, expected less than training.steps ({steps}): the warm-up would never end"
        )
    return warmup_steps


class EmaPanel(BaseModel):
    """EMA: a running average of the LoRA; where it is on, previews and saved LoRAs show the average."""

    model_config = PANEL

    decay: Annotated[StrictFloat, Field(gt=0, lt=1)] = 0.99
    """Share of the old average kept at each step; 0.99 averages over about the last 100 steps."""


class TrainingPanel(BaseModel):
    """TRAINING: steps, optimizer, learning rate, loss and noise levels."""

    model_config = PANEL

    steps: Annotated[StrictInt, Field(ge=1)] = 2500
    """Optimizer updates in all. 2500-3000 for 10-30 pictures; 1500-2200 below 10, so that the LoRA does not
    overfit."""

    batch_size: Annotated[StrictInt, Field(ge=1)] = 1
    """Pictures per forward pass. 1 is the usual choice; more needs more memory."""

    gradient_accumulation: Annotated[StrictInt, Field(ge=1)] = 1
    """Forward passes averaged into one update: the effect of a larger batch without its memory."""

    gradient_checkpointing: Annotated[GradientCheckpointing, BeforeValidator(_explain_checkpointing)] = "none"
    """What is kept of each block for the backward pass: `none` keeps everything and is fastest; `full` keeps each
    block's input and runs the block again, which saves most of the activations' memory for a third more work.

    Formula: at 1024 x 1024 activations take about 30 GiB with none and 2 GiB with full (6B model, batch 1).
    Change it when: the card has 24 GB or less, or a larger batch does not fit.
    Careful: gradients are the same to the last bits; only time and memory change.
    """

    optimizer: OptimizerName = "adamw8bit"
    """`adamw8bit` keeps its state in 8 bits; `adamw` keeps it in full precision, with a little more
    memory."""

    learning_rate: Annotated[StrictFloat, Field(gt=0, le=1)] = 1e-4
    """Size of an update. Start at 0.0001; if training is unstable go down to 0.00005-0.00008. 0.0002 is too
    high for Turbo."""

    weight_decay: Annotated[StrictFloat, Field(ge=0, le=1)] = 1e-4
    """Pull of the LoRA's weights towards zero at each update, relative to the learning rate; 0 is off."""

    beta1: Annotated[StrictFloat, Field(ge=0, lt=1)] = 0.9
    """AdamW's memory of past gradients; leave it as it is unless you know why."""

    beta2: Annotated[StrictFloat, Field(ge=0, lt=1)] = 0.999
    """AdamW's memory of past squared gradients; leave it as it is unless you know why."""

    eps: Annotated[StrictFloat, Field(gt=0, le=1)] = 1e-8
    """AdamW's guard against division by zero; a larger one damps parameters with tiny gradients."""

    max_grad_norm: Annotated[StrictFloat, Field(ge=0)] = 1.0
    """Gradients longer than this are cut to this length, which tames outliers; 0 is off."""

    lr_schedule: LrSchedule = "constant"
    """How the learning rate moves after the warm-up: `constant`, or falling as `linear`, `cosine`,
    `cosine_restarts`, `polynomial` or `rex`."""

    warmup_steps: Annotated[StrictInt, Field(ge=0), AfterValidator(_warm_up_ends)] = 0
    """Steps over which the learning rate rises to its full value; 0 starts at once."""

    min_lr_fraction: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.0
    """Where a falling schedule ends, as a share of the learning rate: 0.1 ends at a tenth. No effect on
    `constant`."""

    loss_type: LossType = "mse"
    """How a wrong prediction is counted: `mse` (mean squared error, the standard), `mae`, or `huber` (between
    the two)."""

    huber_delta: Annotated[StrictFloat, Field(gt=0)] = 0.1
    """Size of an error from which `huber` counts it linearly instead of squared; read only with loss_type
    `huber`."""

    timestep_type: TimestepType = "weighted"
    """Which noise levels are trained: `weighted` (all, with a loss weight each; the guide's choice),
    `sigmoid` (the middle more often), `linear` (all alike), or `shift` (noisy ones more often, as Turbo
    samples)."""

    timestep_bias: TimestepBias = "balanced"
    """Prefer some noise levels: `high_noise` for composition and overall style, `low_noise` for identity and
    detail. Start with `balanced`."""

    ema: EmaPanel | None = None
    """Running average of the LoRA, which evens out late steps. Off when left out; `ema: {decay: 0.99}` turns
    it on."""

    text_encoder: TextEncoderUse = "cache"
    """What becomes of the text encoder while training. `cache` encodes every caption once and frees it, `keep` leaves
    it loaded and encodes at every step, `unload` trains on the trigger word alone (or on no words) and frees it.

    Unit: about 7.5 GiB stay taken with `keep`.
    Change it when: captions say nothing worth learning (`unload`), or the disk has no room for a cache (`keep`).
    Careful: `cache` and `keep` train alike, caption dropout and shuffling too; `keep` only costs memory and time. With
    `unload` the captions' words are not learned, so the LoRA shows whatever the prompt says.
    """

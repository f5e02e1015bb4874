"""TRAINING: how long, how fast, and on which noise levels the LoRA learns."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    ValidationInfo,
)

from slipstream.config.checkpointing import GradientCheckpointing
from slipstream.config.drift import DriftPanel
from slipstream.config.ema import EmaPanel
from slipstream.config.optimizers import known_optimizer, plain_arguments
from slipstream.config.panel import PANEL
from slipstream.config.regularization import ContrastiveGuidancePanel, PreservationPanel
from slipstream.config.validation import ValidationPanel

LrSchedule = Literal["constant", "cosine", "linear", "polynomial", "cosine_restarts", "rex"]
LossType = Literal["mse", "mae", "huber", "pseudo_huber", "wavelet"]
TimestepType = Literal["weighted", "sigmoid", "linear", "shift", "logit_normal", "resolution_shift"]
TextEncoderUse = Literal["cache", "keep", "unload"]
TimestepBias = Literal["balanced", "high_noise", "low_noise"]


def _patterns(rates: dict[str, float]) -> dict[str, float]:
    if any(not pattern.strip() for pattern in rates):
        raise ValueError("got an empty pattern, expected a module's end such as to_q, or a glob such as layers.0.*")
    return rates


def _warm_up_ends(warmup_steps: int, info: ValidationInfo) -> int:
    steps = info.data.get("steps")
    if steps is not None and warmup_steps >= steps:
        raise ValueError(
            f"got {warmup_steps}, expected less than training.steps ({steps}): the warm-up would never end"
        )
    return warmup_steps


def _above_minimum(max_noise: float, info: ValidationInfo) -> float:
    min_noise = info.data.get("min_noise")
    if min_noise is not None and min_noise >= max_noise:
        raise ValueError(
            f"got {max_noise:g}, expected more than training.min_noise ({min_noise:g}): no noise level would be left"
        )
    return max_noise


class TrainingPanel(BaseModel):
    """TRAINING: steps, optimizer, learning rate, loss and noise levels."""

    model_config = PANEL

    steps: Annotated[StrictInt, Field(ge=1)] = 2500
    """Optimizer updates in all. 2500-3000 for 10-30 pictures; 1500-2200 below 10, so that the LoRA does not
    overfit.

    Change it when: the last checkpoints are no better than earlier ones (fewer), or are still getting better (more).
    Careful: on Turbo long trainings wear the 8 steps off even with the adapter; beyond 20,000 take De-Turbo.
    """

    batch_size: Annotated[StrictInt, Field(ge=1)] = 1
    """Pictures per forward pass. 1 is the usual choice; more needs more memory.

    Change it when: the loss is very noisy and memory is left: 2-4.
    Careful: twice the batch sees twice the pictures in as many steps, so steps may come down.
    """

    gradient_accumulation: Annotated[StrictInt, Field(ge=1)] = 1
    """Forward passes averaged into one update: the effect of a larger batch without its memory.

    Formula: gradient = mean over the passes; 4 passes of batch 1 equal one of batch 4.
    Change it when: a larger batch would help and does not fit.
    Careful: a step takes that many times as long. Some trainers add the gradients up instead of averaging them.
    """

    gradient_checkpointing: GradientCheckpointing = "auto"
    """What is kept of each block for the backward pass. `none` keeps everything and is fastest; `full` keeps each
    block's input and runs the block again, a third more work; `auto` keeps as much as fits into the free memory, which
    is everything on a large card; an amount such as `12 GiB` keeps as much as fits into that.

    Formula: at 1024 x 1024 (6B model, batch 1) activations take 14 GiB with none and 2 GiB with full, or 36 and 2 GiB
    where blocks run module by module (quantized weights, other kinds than plain LoRA); the log says which it is.
    Change it when: other programs use the same card (an amount), or you compare speeds (`none`).
    Careful: gradients are the same to the last bits; only time and memory change. On the CPU `auto` is `none`.
    """

    optimizer: Annotated[str, AfterValidator(known_optimizer)] = "adamw8bit"
    """The rule that turns gradients into updates: `adamw8bit` (state in 8 bits), `adamw`, `adafactor`, `prodigy`,
    `prodigy_schedulefree`, `lion`, `lion8bit`, `schedulefree_adamw`, `came`, `muon`, or
    `pytorch_optimizer/<Name>` for any other one of the pytorch-optimizer library, such as `pytorch_optimizer/AdEMAMix`.

    Change it when: you do not want to search for a learning rate (`prodigy` with learning_rate 1), or for a schedule
    (`schedulefree_adamw`); `adamw8bit` is the guide's choice.
    Careful: each wants a learning rate of its own: `lion` a third to a tenth of AdamW's, `came` a tenth and a warm-up,
    `muon` three times, the prodigies 1. `muon` treats A and B apart and raises their weakest directions to the strength
    of the strongest: it learns pictures by heart sooner. docs/optimizers.md has figures.
    """

    optimizer_args: Annotated[dict[str, Any], AfterValidator(plain_arguments)] = {}
    """Further arguments of the optimizer by name, such as `{d_coef: 2.0}` for prodigy or `{relative_step: true}` for
    adafactor. Numbers, text, true or false, or lists of them; an unknown one is refused and the known ones are named.

    Change it when: the optimizer's own documentation says so; each has good values already.
    """

    learning_rate: Annotated[StrictFloat, Field(gt=0, le=1)] = 1e-4
    """Size of an update. Start at 0.0001; if training is unstable go down to 0.00005-0.00008. 0.0002 is too
    high for Turbo.

    Change it when: previews turn noisy or drift (lower), or nothing is learned in a thousand steps (higher). The
    prodigies want 1, `lion` and `came` 1e-5 to 3e-5.
    Careful: too high for too long is the main cause of a Turbo LoRA that needs 20-30 steps.
    """

    module_learning_rates: Annotated[dict[str, Annotated[StrictFloat, Field(ge=0)]], AfterValidator(_patterns)] = {}
    """Factors on the learning rate of some modules: a module's end (`to_q`, `feed_forward.w2`) or a glob (`layers.0.*`)
    and its factor. Factors of several patterns that fit a module multiply; 0 leaves a module as it starts.

    Formula: rate of a module = learning rate x schedule x the factors that fit.
    Change it when: some layers should learn slower, such as the first and last blocks for a style.
    Careful: a pattern that fits nothing is refused; prodigy has one rate for all and refuses any.
    """

    weight_decay: Annotated[StrictFloat, Field(ge=0, le=1)] = 1e-4
    """Pull of the LoRA's weights towards zero at each update, relative to the learning rate; 0 is off.

    Formula: weight <- weight - learning rate x weight_decay x weight.
    Change it when: the LoRA overfits; 0.01-0.1 is a strong pull.
    """

    beta1: Annotated[StrictFloat, Field(ge=0, lt=1)] | None = None
    """The optimizer's memory of past gradients. Left out it is the optimizer's own: 0.9 for AdamW.

    Change it when: gradients are very noisy (0.95), or should be followed at once (0.8).
    Careful: averages over about 1 / (1 - beta1) steps; an optimizer without it says so in the log.
    """

    beta2: Annotated[StrictFloat, Field(ge=0, lt=1)] | None = None
    """The optimizer's memory of past squared gradients. Left out it is the optimizer's own: 0.999 for AdamW, 0.99 for
    Lion.

    Change it when: runs are short or losses jump: 0.99 adapts faster.
    Careful: averages over about 1 / (1 - beta2) steps; an optimizer without it says so in the log.
    """

    eps: Annotated[StrictFloat, Field(gt=0, le=1)] | None = None
    """The optimizer's guard against division by zero. Left out it is the optimizer's own: 1e-8 for AdamW.

    Change it when: you follow a recipe that names it: 1e-6 is also common.
    Careful: a larger one damps parameters with tiny gradients; an optimizer without it says so in the log.
    """

    max_grad_norm: Annotated[StrictFloat, Field(ge=0)] = 1.0
    """Gradients longer than this are cut to this length, which tames outliers; 0 is off.

    Change it when: the gradient curve shows rare spikes far above the rest (set it a little above the rest).
    Careful: far below the usual norm it changes little with AdamW, which divides by the gradient's size, but hides
    from prodigy_schedulefree what it needs to see.
    """

    max_loss: Annotated[StrictFloat, Field(gt=0)] | None = None
    """An update whose loss is above this is skipped: it counts as a step, but the LoRA, the optimizer and EMA stay as
    they are. Off when left out; after 20 skips in a row training stops.

    Change it when: single pictures or noise levels give losses far above the rest and previews jump after them; take
    two to three times the curve's usual height.
    Careful: too low it leaves out the hardest pictures for good.
    """

    lr_schedule: LrSchedule = "constant"
    """How the learning rate moves after the warm-up: `constant`, or falling as `linear`, `cosine`,
    `cosine_restarts`, `polynomial` or `rex`.

    Formula: with p from 0 to 1 after the warm-up: linear 1 - p; cosine (1 + cos(pi p)) / 2; cosine_restarts the same
    lr_restarts + 1 times; polynomial (1 - p)^lr_power; rex (1 - p) / (1 - p / 2).
    Change it when: late previews flicker between steps: cosine or rex settle them.
    Careful: `linear` falls; in some trainers that name means a warm-up. Optimizers that are schedule-free want
    `constant`.
    """

    warmup_steps: Annotated[StrictInt, Field(ge=0), AfterValidator(_warm_up_ends)] = 0
    """Steps over which the learning rate rises to its full value; 0 starts at once.

    Formula: rate x (step + 1) / warmup_steps.
    Change it when: the first updates throw the LoRA off (a loss that jumps at once): 50-200.
    """

    min_lr_fraction: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.0
    """Where a falling schedule ends, as a share of the learning rate: 0.1 ends at a tenth. No effect on
    `constant`.

    Formula: floor + (1 - floor) x schedule.
    Change it when: the last part of a long run should still learn.
    """

    lr_restarts: Annotated[StrictInt, Field(ge=0, le=100)] = 3
    """How often `cosine_restarts` jumps back to the full rate; read only with that schedule.

    Change it when: a run is long enough for more than four falls, or so short that one restart is plenty.
    """

    lr_power: Annotated[StrictFloat, Field(gt=0, le=10)] = 2.0
    """Exponent of `polynomial`: 1 is linear, more falls faster at first; read only with that schedule.

    Formula: (1 - p)^lr_power.
    Change it when: you follow a recipe that names it.
    """

    loss_type: LossType = "mse"
    """How a wrong prediction is counted: `mse` (mean squared error, the standard), `mae`, `huber`, `pseudo_huber`, or
    `wavelet`, which counts coarse errors as much as fine ones.

    Formula: with d = prediction - target and c = huber_delta: mse d^2; mae |d|; huber d^2 below c, c (2 |d| -
    c) above; pseudo_huber 2 c (sqrt(d^2 + c^2) - c); wavelet the mean over Haar bands of their mean squares.
    Change it when: a few odd pictures pull the LoRA about: the hubers count large errors less. `wavelet` if
    shapes and large areas are learned too slowly.
    Careful: `mae` and the hubers have smaller gradients where errors are large, so the same learning rate
    learns less.
    """

    huber_delta: Annotated[StrictFloat, Field(gt=0, le=10)] = 0.1
    """Size of an error from which `huber` and `pseudo_huber` count it linearly instead of squared; other losses do not
    read it.

    Unit: latent units, where a typical error is about 1.
    Change it when: `huber` acts too much like `mae` (raise it) or too much like `mse` (lower it).
    """

    timestep_type: TimestepType = "weighted"
    """Which noise levels are trained: `weighted` (all, with a loss weight each; the guide's choice), `sigmoid` (the
    middle more often), `linear` (all alike), `shift` (noisy ones more often, as Turbo samples), `resolution_shift` (the
    same, more for larger pictures), or `logit_normal` (a bell that you place).

    Formula: s uniform in (0, 1]; linear and weighted s; shift k s / (1 + (k - 1) s) with k = training.shift;
    resolution_shift the same with k = e^mu, mu = 0.5 at 256 image tokens to 1.15 at 4096 (a token is 16 x 16
    pixels); logit_normal sigmoid(logit_mean + logit_scale n), n ~ N(0, 1); sigmoid that with mean 0, scale 1.
    Change it when: composition or style is learned too weakly (`shift`, `resolution_shift`), or you want most
    steps where the picture takes shape (`sigmoid`).
    Careful: losses of different types cannot be compared.
    """

    timestep_bias: TimestepBias = "balanced"
    """Prefer some noise levels: `high_noise` for composition and overall style, `low_noise` for identity and detail.
    Start with `balanced`.

    Formula: index i = 1000 p into the type's levels, from most noise to least, r uniform in [0, 1): balanced
    p = r, high_noise p = r^3, low_noise p = 1 - r^3.
    Change it when: mood and style stay weak (`high_noise`), or faces and textures lack detail (`low_noise`).
    Careful: the other end is then trained rarely; hands and backgrounds may suffer with `high_noise`, layouts
    with `low_noise`.
    """

    shift: Annotated[StrictFloat, Field(gt=0, le=100)] = 3.0
    """Strength of the timestep type `shift`: above 1 trains noisy levels more often, 1 is `linear`; other types do not
    read it.

    Formula: k s / (1 + (k - 1) s), s uniform in (0, 1].
    Change it when: you train for a model that samples with another shift than Turbo's 3.
    """

    logit_mean: Annotated[StrictFloat, Field(ge=-10, le=10)] = 0.0
    """Where the bell of the timestep type `logit_normal` lies: 0 in the middle, 1 at a noise level of 0.73, -1 at 0.27;
    other types do not read it.

    Formula: mean of ln(sigma / (1 - sigma)).
    Change it when: you want most steps at one range of noise: above 0 for composition, below 0 for detail.
    """

    logit_scale: Annotated[StrictFloat, Field(gt=0, le=10)] = 1.0
    """How wide the bell of the timestep type `logit_normal` is; other types do not read it.

    Formula: standard deviation of ln(sigma / (1 - sigma)).
    Change it when: the bell should be narrower (0.5) or nearly flat (1.7).
    Careful: above about 2 most draws lie at the two ends.
    """

    min_noise: Annotated[StrictFloat, Field(ge=0, lt=1)] = 0.0
    """Noise levels below this are not trained. 0 leaves none out.

    Formula: the density is cut off and divided by what is left of it.
    Unit: sigma, 0 = clean, 1 = pure noise.
    Change it when: the LoRA should leave fine detail to the model: 0.2-0.4 for composition or mood alone.
    Careful: what is never trained stays the model's own, so styles may look half done.
    """

    max_noise: Annotated[StrictFloat, Field(gt=0, le=1), AfterValidator(_above_minimum)] = 1.0
    """Noise levels above this are not trained. 1 leaves none out.

    Formula: the density is cut off and divided by what is left of it.
    Unit: sigma, 0 = clean, 1 = pure noise.
    Change it when: the LoRA should learn texture and detail and leave composition to the model: 0.6-0.8.
    Careful: Turbo takes 4 of its 8 steps above 0.75; a LoRA that never saw those levels changes little there.
    """

    stratified: StrictBool = False
    """Spreads the noise levels of one update evenly over the density, instead of drawing each on its own. Fewer
    lucky and unlucky updates; needs more than one picture per update.

    Formula: sample k of N draws its uniform number from [p_k / N, (p_k + 1) / N), p a permutation of the
    update's own.
    Change it when: batch_size x gradient_accumulation is 2 or more and the loss curve is jumpy.
    """

    noise_offset: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.0
    """Adds a constant per channel to the noise, so that very dark and very bright pictures can be learned. 0 is off.

    Formula: noise + offset * n, n ~ N(0, 1) per sample and channel.
    Unit: share of the noise's standard deviation.
    Change it when: a set of night or high-key pictures comes out grey; 0.03-0.1.
    Careful: it changes what the model takes for noise; large values fog previews.
    """

    preservation: PreservationPanel | None = None
    """Keeps pictures without the trigger word as they were, so that the LoRA acts only when asked for. Off when left
    out; `preservation: {class_word: person}` is DOP, `{kind: blank_prompt}` holds the blank prompt instead.

    Change it when: the LoRA bleeds: people, animals or styles of the same kind change without the trigger word. First
    train without it, to have a baseline.
    Careful: a step takes about two and a half times as long, and the LoRA learns somewhat less in it.
    """

    contrastive_guidance: ContrastiveGuidancePanel | None = None
    """Learns what the captions add to the blank prompt, overdrawn. Off when left out;
    `contrastive_guidance: {scale: 1.5}` turns it on.

    Change it when: the LoRA's pictures stay pale, or follow the prompt too little, at the guidance they are drawn with.
    Careful: it bakes guidance in: with CFG on top pictures burn out.
    """

    ema: EmaPanel | None = None
    """Running average of the LoRA, which evens out late steps. Off when left out; `ema: {decay: 0.99}` turns
    it on.

    Change it when: previews of neighbouring checkpoints differ much.
    Careful: schedule-free optimizers average already.
    """

    validation: ValidationPanel | None = None
    """Loss on held-out pictures at fixed noise levels, in the log and the report, with advice when it rises: the sign
    of overfitting. Off when left out; `validation: {fraction: 0.1}` turns it on.

    Change it when: you want to know which checkpoint to take.
    Careful: held-out pictures are not trained; on a set of ten or fewer judge by the previews instead.
    """

    drift: DriftPanel | None = DriftPanel()
    """Measures while training how far the LoRA bends Turbo where it should not, with a score and a traffic light in the
    log and the report. On for Turbo; `drift: null` turns it off.

    Change it when: every second counts.
    Careful: only Turbo has few steps to lose: De-Turbo and Base are not measured, whatever is set here.
    """

    text_encoder: TextEncoderUse = "cache"
    """What becomes of the text encoder while training. `cache` encodes every caption once and frees it, `keep` leaves
    it loaded and encodes at every step, `unload` trains on the trigger word alone (or on no words) and frees it.

    Unit: about 7.5 GiB stay taken with `keep`.
    Change it when: captions say nothing worth learning (`unload`), or the disk has no room for a cache (`keep`).
    Careful: `cache` and `keep` train alike, caption dropout and shuffling too; `keep` only costs memory and time. With
    `unload` the captions' words are not learned, so the LoRA shows whatever the prompt says.
    """

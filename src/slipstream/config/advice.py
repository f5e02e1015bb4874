"""Soft warnings: settings that are allowed and mostly regretted, each with the figure to use instead."""

from __future__ import annotations

import math
from collections.abc import Iterator

from slipstream.config.dataset_advice import dataset_advice
from slipstream.config.optimizer_advice import optimizer_advice
from slipstream.config.optimizers import finds_its_rate
from slipstream.config.run_config import RunConfig
from slipstream.config.variants import NO_ADAPTER, VARIANTS, is_tiny, preview_guidance, preview_steps, variant_hinted

USUAL_RATE = 1e-4
TOO_HIGH_RATE = 2e-4
FEW_IMAGES, MANY_IMAGES = 10, 50
STEPS_BELOW_TEN_IMAGES = (1500, 2200)
STEPS_FOR_THIRTY_IMAGES = (2500, 3000)
USUAL_IMAGES = 30
LONG_TRAINING = 20_000
EMA_STEPS = 100  # that a decay of 0.99 averages over
LARGE_RANK = 64
HIGH_NOISE_OFFSET = 0.2
TINY_SIDE = 256
PLACEHOLDER = "[trigger]"


def advise(config: RunConfig, num_images: int | None) -> list[str]:
    """One sentence or two per doubtful setting, the gravest first; `num_images` None leaves out what depends
    on it.

    The packaged tiny models get only the advice that holds for them: learning rates and step counts are the
    6B's.
    """
    tiny = is_tiny(config.model.name_or_path)
    return [
        *_adapter(config),
        *_base(config),
        *(_tiny_sizes(config) if tiny else _learning_rate(config)),
        *(() if tiny else _length(config, num_images)),
        *(() if tiny else _memory(config)),
        *_previews(config),
        *_prompts(config),
        *dataset_advice(config),
        *_saving(config),
        *_training(config),
        *_unread(config),
        *_noise(config),
        *optimizer_advice(config),
        *_preserved(config),
        *_validation(config),
    ]


def _adapter(config: RunConfig) -> Iterator[str]:
    model = config.model
    if model.variant == "turbo" and model.training_adapter == NO_ADAPTER:
        yield (
            "WARNING: TURBO WITHOUT A TRAINING ADAPTER (model.training_adapter is none). This undoes Turbo's "
            "distillation: expect a LoRA that needs 20-30 steps and CFG instead of 8 steps. Use v2, or "
            "variant de_turbo."
        )


def _base(config: RunConfig) -> Iterator[str]:
    """A name that suggests another variant than the one set; well-known names are refused earlier."""
    model = config.model
    hinted = variant_hinted(model.name_or_path)
    if hinted is not None and hinted != model.variant:
        yield (
            f"the name of the base, {model.name_or_path!r}, suggests {VARIANTS[hinted].label}, and model.variant is "
            f"{model.variant}: if the name is right, set model.variant to {hinted}."
        )


def _learning_rate(config: RunConfig) -> Iterator[str]:
    rate = config.training.learning_rate
    if finds_its_rate(config.training.optimizer) or config.training.optimizer == "muon":
        return  # these have rates of their own
    if rate >= TOO_HIGH_RATE and config.model.variant == "turbo":
        yield (
            f"training.learning_rate {rate:g} is too high for Turbo, which gets unstable from "
            f"{TOO_HIGH_RATE:g} on: use {USUAL_RATE:g}, or 5e-5 to 8e-5 if previews are noisy."
        )
    elif rate > USUAL_RATE:
        yield (
            f"training.learning_rate {rate:g} is above the usual {USUAL_RATE:g}: "
            "watch the previews for noise and drift."
        )


def _length(config: RunConfig, num_images: int | None) -> Iterator[str]:
    training = config.training
    if config.model.variant == "turbo" and training.steps > LONG_TRAINING:
        yield (
            f"training.steps {training.steps} is long for Turbo: even with its adapter the 8-step behaviour "
            "wears off. Use model.variant de_turbo for trainings of this length."
        )
    if num_images is None:
        return
    if num_images > MANY_IMAGES:
        yield (
            f"{num_images} pictures: above about {MANY_IMAGES} more of them help little unless the set is very varied."
        )
    if num_images > USUAL_IMAGES:
        return
    low, high = STEPS_BELOW_TEN_IMAGES if num_images < FEW_IMAGES else STEPS_FOR_THIRTY_IMAGES
    per_step = training.batch_size * training.gradient_accumulation
    samples = training.steps * per_step
    counted = f"training.steps {training.steps}" + (f" with {per_step} pictures a step" if per_step > 1 else "")
    if samples > high:
        yield (
            f"{counted} is long for {num_images} pictures (usual: {low}-{high} steps at batch 1): it may "
            "overfit. Compare the checkpoints."
        )
    elif samples < low:
        yield (
            f"{counted} is short for {num_images} pictures (usual: {low}-{high} steps at batch 1): it may "
            "learn too little."
        )


def _memory(config: RunConfig) -> Iterator[str]:
    if config.quantization.transformer == "fp32":
        yield (
            "quantization.transformer fp32 needs about 23 GiB for the weights alone and is slower; bf16 is "
            "full quality."
        )
    if config.training.text_encoder == "keep":
        yield (
            "training.text_encoder keep: the text encoder (about 7.5 GiB) stays loaded and runs at every step; "
            "cache trains alike."
        )


def _tiny_sizes(config: RunConfig) -> Iterator[str]:
    largest = max(max(panel.resolutions) for panel in config.datasets)
    if largest > TINY_SIDE:
        yield (
            f"datasets.resolutions up to {largest}: the tiny models were made for 128; larger is slow and looks wrong."
        )
    sample = config.sample
    sizes = [(one.width or sample.width, one.height or sample.height) for one in sample.prompts]
    width, height = max(sizes, key=max, default=(0, 0))
    if max(width, height) > TINY_SIDE:
        yield f"previews of {width} x {height}: the tiny models draw 128 x 128; larger is slow and looks wrong."


def _previews(config: RunConfig) -> Iterator[str]:
    if not config.sample.prompts:
        return
    variant, facts = config.model.variant, VARIANTS[config.model.variant]
    steps, guidance = preview_steps(config), preview_guidance(config)
    guided = guidance not in (0.0, 1.0)
    if variant == "turbo":
        if guided:
            yield (f"sample.guidance_scale {guidance:g} on Turbo: guidance is baked in, so previews burn out. Use 0.")
        if steps != facts.preview_steps:
            yield (
                f"sample.steps {steps} on Turbo: previews then hide (or fake) drift. It is used with "
                f"{facts.preview_steps}."
            )
        return
    if steps < facts.min_preview_steps:
        yield (
            f"sample.steps {steps} on {variant}: below {facts.min_preview_steps} previews look unfinished "
            f"whatever was trained. Use {facts.preview_steps}."
        )
    if not guided:
        yield (
            f"sample.guidance_scale {guidance:g} on {variant}: without CFG previews look dull. Use "
            f"{facts.guidance_scale:g}."
        )


def _prompts(config: RunConfig) -> Iterator[str]:
    prompts, trigger = [panel.prompt for panel in config.sample.prompts], config.job.trigger_word.lower()
    if not prompts:
        yield "sample.prompts is empty: no previews are drawn. Give 5-10 prompts of real use."
        return
    if not trigger:
        without = [panel for panel in config.datasets if not (panel.trigger_word or panel.random_triggers)]
        captions = [panel.default_caption for panel in without]
        if any(PLACEHOLDER in text.lower() for text in (*prompts, *captions)):
            yield f"{PLACEHOLDER} is used, but job.trigger_word is empty: nothing takes its place."
        return
    with_trigger = [PLACEHOLDER in prompt.lower() or trigger in prompt.lower() for prompt in prompts]
    if not any(with_trigger):
        yield (f"no prompt in sample.prompts holds {PLACEHOLDER}: previews will not show what the LoRA learned.")
    elif all(with_trigger):
        yield (
            "every prompt in sample.prompts holds the trigger: add one or two without it, to see whether the "
            "LoRA leaks."
        )


def _saving(config: RunConfig) -> Iterator[str]:
    save = config.save
    if save.keep_every and save.every and save.keep_every % save.every:
        yield (
            f"save.keep_every {save.keep_every} is no multiple of save.every {save.every}: only multiples "
            f"of both are kept for good, the first of them {math.lcm(save.keep_every, save.every)}."
        )


def _training(config: RunConfig) -> Iterator[str]:
    training, guidance = config.training, config.advanced.differential_guidance
    if config.target.rank > LARGE_RANK:
        yield (
            f"target.rank {config.target.rank}: above {LARGE_RANK} a LoRA mostly gets larger and overfits. "
            "8-16 is usual."
        )
    if training.ema is not None and 1 / (1 - training.ema.decay) > training.steps:
        remedy = "Use 0.99." if training.steps > EMA_STEPS else "Leave EMA out of so short a training."
        yield (
            f"training.ema.decay {training.ema.decay:g} averages over more steps than there are "
            f"({training.steps}): the saved LoRA will lag far behind. {remedy}"
        )
    if guidance is not None and training.loss_type == "mse" and training.max_grad_norm == 0:
        yield (
            "advanced.differential_guidance with mse and no gradient clipping only scales gradients, which "
            "AdamW evens out."
        )


READ_ONLY_WITH = {
    "huber_delta": ("loss_type", ("huber", "pseudo_huber")),
    "shift": ("timestep_type", ("shift",)),
    "logit_mean": ("timestep_type", ("logit_normal",)),
    "logit_scale": ("timestep_type", ("logit_normal",)),
    "lr_restarts": ("lr_schedule", ("cosine_restarts",)),
    "lr_power": ("lr_schedule", ("polynomial",)),
}
"""Settings of the training panel that some choices do not read."""


def _unread(config: RunConfig) -> Iterator[str]:
    training = config.training
    for name, (switch, choices) in READ_ONLY_WITH.items():
        value, chosen = getattr(training, name), getattr(training, switch)
        if value != type(training).model_fields[name].default and chosen not in choices:
            yield (
                f"training.{name} {value:g} is not read with training.{switch} {chosen}: only with "
                f"{' or '.join(choices)}."
            )


def _preserved(config: RunConfig) -> Iterator[str]:
    preservation = config.training.preservation
    if preservation is None or preservation.kind != "blank_prompt" or config.job.trigger_word:
        return
    for number, panel in enumerate(config.datasets):
        if panel.caption_dropout > 0 and panel.regularization is None:
            yield (
                f"datasets.{number}.caption_dropout {panel.caption_dropout:g} teaches the blank prompt what "
                "training.preservation holds it back from: set it to 0, or give a trigger word, which dropped "
                "captions keep."
            )


def _noise(config: RunConfig) -> Iterator[str]:
    training = config.training
    if training.stratified and training.batch_size * training.gradient_accumulation == 1:
        yield (
            "training.stratified with one picture per update does nothing: it spreads the pictures of an update. Raise "
            "gradient_accumulation, or leave it off."
        )
    if training.noise_offset > HIGH_NOISE_OFFSET:
        yield f"training.noise_offset {training.noise_offset:g} fogs pictures: 0.03-0.1 is usual."


def _validation(config: RunConfig) -> Iterator[str]:
    panel, save = config.training.validation, config.save
    if panel is None:
        return
    if panel.every and save.every and panel.every % save.every:
        yield (
            f"training.validation.every {panel.every} is no multiple of save.every {save.every}: the step with the "
            f"lowest loss may have no checkpoint. Use {save.every}."
        )
    low, high = config.training.min_noise, config.training.max_noise
    outside = [level for level in panel.noise_levels if not low <= level <= high]
    if outside:
        yield (
            f"training.validation.noise_levels {', '.join(f'{level:g}' for level in outside)} are not trained "
            "(min_noise, max_noise): their loss says little."
        )

"""The panels' share of what is learned, as plain values: which noise levels, which loss."""

from __future__ import annotations

from slipstream.config.run_config import RunConfig
from slipstream.core.errors import ConfigError
from slipstream.data.buckets import Bucket
from slipstream.flow.densities import NoiseLevels, index_range
from slipstream.objectives.settings import ObjectiveSettings

_PIXELS_PER_TOKEN = 16


def noise_levels(config: RunConfig) -> NoiseLevels:
    """The density of sigmas that the training panel asks for."""
    training = config.training
    return NoiseLevels(
        timestep_type=training.timestep_type,
        timestep_bias=training.timestep_bias,
        shift=training.shift,
        logit_mean=training.logit_mean,
        logit_scale=training.logit_scale,
        min_noise=training.min_noise,
        max_noise=training.max_noise,
        stratified=training.stratified,
    )


def objective_settings(config: RunConfig) -> ObjectiveSettings:
    """The terms of the loss."""
    training, guidance = config.training, config.advanced.differential_guidance
    contrast, preservation = training.contrastive_guidance, training.preservation
    return ObjectiveSettings(
        loss_type=training.loss_type,
        huber_delta=training.huber_delta,
        differential_guidance_scale=guidance.scale if guidance is not None else None,
        contrastive_guidance_scale=contrast.scale if contrast is not None else None,
        preservation_multiplier=preservation.multiplier if preservation is not None else None,
    )


def needs_blank_caption(config: RunConfig) -> bool:
    """Whether a term of the loss asks for the blank prompt besides the captions."""
    return config.training.contrastive_guidance is not None


def preserved_class_word(config: RunConfig) -> str | None:
    """The word that takes the trigger word's place in captions that must not change; None where none must."""
    preservation = config.training.preservation
    return preservation.class_word if preservation is not None and preservation.kind == "class_word" else None


def preserves_blank(config: RunConfig) -> bool:
    """Whether the blank prompt must not change."""
    preservation = config.training.preservation
    return preservation is not None and preservation.kind == "blank_prompt"


def relative_work(config: RunConfig) -> float:
    """Work of an update, 1 = one prediction with its backward pass, which are alike with frozen weights."""
    backward_too, prediction = 1.0, 0.5
    work = backward_too
    if config.training.preservation is not None:
        work += backward_too + prediction
    if config.training.contrastive_guidance is not None and not preserves_blank(config):
        work += prediction  # else it is the one that preservation asks for
    return work


def side_lines(config: RunConfig) -> list[str]:
    """One line per term that is added to the pictures' loss or moves its target, for the log and `plan`."""
    training, guidance = config.training, config.advanced.differential_guidance
    lines = []
    preservation, contrast = training.preservation, training.contrastive_guidance
    if preservation is not None:
        what = "the blank prompt"
        if preservation.kind == "class_word":
            what = f"captions with {preservation.class_word!r} for {config.job.trigger_word!r}"
        lines.append(f"preservation: {what} must stay as without the LoRA (multiplier {preservation.multiplier:g})")
    if contrast is not None:
        lines.append(
            f"contrastive guidance: target pushed from the blank prompt's prediction (scale {contrast.scale:g})"
        )
    if guidance is not None:
        lines.append(f"differential guidance: target moved past the pictures (scale {guidance.scale:g})")
    return lines


def update_lines(config: RunConfig) -> list[str]:
    """One line per choice about updates that is not the usual one, for the log and `plan`."""
    training, lines = config.training, []
    if training.lr_schedule != "constant" or training.warmup_steps:
        floor = f", down to {training.min_lr_fraction:g} of it" if training.lr_schedule != "constant" else ""
        lines.append(f"learning rate schedule: {training.lr_schedule}, {training.warmup_steps} steps of warm-up{floor}")
    for pattern, factor in training.module_learning_rates.items():
        lines.append(f"learning rate of {pattern}: {factor:g} times the usual")
    if (ratio := config.target.lora_plus_ratio) is not None:
        lines.append(f"LoRA+: B learns at {ratio:g} times the rate")
    levels = f"{training.timestep_type}, {training.timestep_bias}, {training.min_noise:g} to {training.max_noise:g}"
    if levels != "weighted, balanced, 0 to 1":
        lines.append(f"noise levels: {levels}")
    if training.loss_type != "mse":
        lines.append(f"loss: {training.loss_type}")
    if training.max_loss is not None:
        lines.append(f"updates with a loss over {training.max_loss:g} are skipped (training.max_loss)")
    if training.ema is not None:
        lines.append(f"EMA: decay {training.ema.decay:g}; previews and saved LoRAs show the average")
    return lines


def require_noise_levels(config: RunConfig, buckets: list[Bucket]) -> None:
    """Refuse bounds that leave no noise level to train on.

    Raises:
        ConfigError: with the levels that there are.
    """
    levels = noise_levels(config)
    for bucket in buckets:
        try:
            index_range(levels, (bucket.width // _PIXELS_PER_TOKEN) * (bucket.height // _PIXELS_PER_TOKEN))
        except ValueError as error:
            raise ConfigError(
                str(error), where="training.min_noise, training.max_noise",
                fix="widen the bounds, or choose a timestep_type with levels there: linear has them everywhere.",
            ) from error  # fmt: skip

"""What drift is measured on in a training, and how that is said."""

from __future__ import annotations

from slipstream.config.run_config import RunConfig
from slipstream.config.variants import VARIANTS, is_tiny
from slipstream.evaluation.drift import LEVELS
from slipstream.evaluation.unrelated import UnrelatedPrompts, unrelated_prompts


def drift_prompts(config: RunConfig) -> UnrelatedPrompts | None:
    """The prompts of the drift meter; None where it is off, or the base has no few steps to lose."""
    panel = config.training.drift
    if panel is None or not VARIANTS[config.model.variant].uses_training_adapter:
        return None
    return unrelated_prompts(is_tiny=is_tiny(config.model.name_or_path), own=panel.prompts)


def describe_drift(config: RunConfig) -> str:
    """One line: what is measured, how often, and what a measurement costs."""
    panel, chosen = config.training.drift, drift_prompts(config)
    if panel is None:
        return "drift meter: off, as set (training.drift)"
    if chosen is None:
        return f"drift meter: off ({config.model.variant} has no few steps that a LoRA could wear off)"
    predictions = len(chosen.prompts) * len(LEVELS)
    rhythm = f"every {panel.every} steps" if panel.every else "at the end"
    whose = "own" if panel.prompts else "packaged"
    return (
        f"drift meter: {len(chosen.prompts)} {whose} prompts at {chosen.side} x {chosen.side}, "
        f"{predictions} predictions {rhythm}; guard: {panel.guard.replace('_', ' ')}"
    )

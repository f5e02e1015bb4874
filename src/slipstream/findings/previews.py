"""What previews were drawn with, and whether the LoRA shows where nobody asked for it; captions that were cut."""

from __future__ import annotations

from slipstream.config.variants import VARIANTS, preview_guidance, preview_steps
from slipstream.findings.facts import RunFacts
from slipstream.findings.finding import Finding, Line, Value, line
from slipstream.findings.learning import SAME_PICTURE

AS_MUCH = 0.6
"""Change of pictures without the trigger word, as a share of those with it, from which the word hardly matters."""
CLEARLY_CHANGED = 0.02
WEIGHTS = (0.6, 0.8)
"""What the guide goes down to where a LoRA is too strong."""


def preview_settings(facts: RunFacts) -> Finding | None:
    """Previews were drawn otherwise than the base is used: they show something that nobody will see."""
    if not facts.config.sample.prompts:
        return None
    known, variant = VARIANTS[facts.config.model.variant], facts.config.model.variant
    steps, guidance = preview_steps(facts.config), preview_guidance(facts.config)
    guided = guidance not in (0.0, 1.0)
    seen: list[Line] = []
    change: list[Line] = []
    settings: dict[str, Value] = {}
    if steps < known.min_preview_steps or (variant == "turbo" and steps != known.preview_steps):
        seen.append(line("preview_settings.steps", steps=steps, base=known.label, usual=known.preview_steps))
        change.append(line("change.preview_steps", value=known.preview_steps))
        settings["sample.steps"] = known.preview_steps
    if guided != (known.guidance_scale > 0):
        seen.append(line("preview_settings.guidance", guidance=guidance, base=known.label, usual=known.guidance_scale))
        change.append(line("change.preview_guidance", value=known.guidance_scale))
        settings["sample.guidance_scale"] = known.guidance_scale
    if not seen:
        return None
    return Finding("preview_settings", "warning", tuple(seen), tuple(change), settings, "previews")


def too_strong(facts: RunFacts) -> Finding | None:
    """Pictures without the trigger word changed about as much as those with it."""
    changes, preservation = facts.pictures, facts.config.training.preservation
    if changes is None or changes.unwanted is None or changes.wanted < SAME_PICTURE:
        return None
    share = changes.unwanted / changes.wanted
    if changes.unwanted < CLEARLY_CHANGED or share < AS_MUCH:
        return None
    seen = line("too_strong.both", step=changes.step, wanted=changes.wanted, unwanted=changes.unwanted, share=share)
    change = [line("too_strong.weight", low=WEIGHTS[0], high=WEIGHTS[1])]
    settings: dict[str, Value] = {}
    if preservation is None:
        change.append(line("too_strong.preservation"))  # with a class word, which only the user knows
    else:
        change.append(line("too_strong.more_preservation", value=2 * preservation.multiplier))
        settings["training.preservation.multiplier"] = 2 * preservation.multiplier
    return Finding("too_strong", "hint", (seen,), tuple(change), settings, "previews")


def captions_cut(facts: RunFacts) -> Finding | None:
    """Captions were longer than what the text encoder reads."""
    count, tokens = facts.log.cut_captions, facts.log.most_tokens
    if not count:
        return None
    return Finding(
        "captions_cut", "warning", (line("captions_cut.counted", count=count, tokens=tokens),),
        (line("captions_cut.shorten", tokens=tokens),), {}, "dataset",
    )  # fmt: skip

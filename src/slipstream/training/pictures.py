"""From prompts to pictures: what a prompt leaves out comes from the panel or the command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from slipstream.config.prompts import PromptPanel
from slipstream.config.run_config import RunConfig
from slipstream.config.variants import preview_guidance, preview_steps
from slipstream.data.captions import fill_trigger, has_word
from slipstream.previews.render import Picture


@dataclass(frozen=True)
class PictureDefaults:
    """What holds for every prompt that does not say otherwise. `guidance_scale` is CFG (0 or 1 = off)."""

    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance_scale: float
    seed: int
    walk_seed: bool
    trigger_word: str


def pictures_of(prompts: Sequence[PromptPanel], defaults: PictureDefaults) -> tuple[Picture, ...]:
    """The picture of every prompt, with `[trigger]` filled in.

    With `walk_seed` prompt number n (from 0) gets seed + n, whether or not those before it have seeds of their own.
    """
    return tuple(_picture(panel, number, defaults) for number, panel in enumerate(prompts))


def _picture(panel: PromptPanel, number: int, defaults: PictureDefaults) -> Picture:
    walked = (defaults.seed + (number if defaults.walk_seed else 0)) % 2**32
    negative = defaults.negative_prompt if panel.negative_prompt is None else panel.negative_prompt
    return Picture(
        prompt=fill_trigger(panel.prompt, defaults.trigger_word),
        negative_prompt=fill_trigger(negative, defaults.trigger_word),
        width=panel.width or defaults.width,
        height=panel.height or defaults.height,
        seed=walked if panel.seed is None else panel.seed,
        steps=panel.steps or defaults.steps,
        guidance_scale=defaults.guidance_scale if panel.guidance_scale is None else panel.guidance_scale,
        lora_scale=1.0 if panel.lora_scale is None else panel.lora_scale,
        has_trigger=holds_trigger(panel.prompt, defaults.trigger_word),
    )


def holds_trigger(prompt: str, trigger_word: str) -> bool | None:
    """Whether a prompt asks for what is trained, as `[trigger]` or by the word; None where there is no trigger word."""
    word = trigger_word.strip()
    return has_word(fill_trigger(prompt, word), word) if word else None


def preview_pictures(config: RunConfig) -> tuple[Picture, ...]:
    """The previews of a run."""
    sample = config.sample
    defaults = PictureDefaults(
        negative_prompt=sample.negative_prompt,
        width=sample.width,
        height=sample.height,
        steps=preview_steps(config),
        guidance_scale=preview_guidance(config),
        seed=sample.seed,
        walk_seed=sample.walk_seed,
        trigger_word=config.job.trigger_word,
    )
    return pictures_of(sample.prompts, defaults)


def picture_facts(pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    """The pictures as plain values, for the manifest and the headings of sheets."""
    return [asdict(picture) for picture in pictures]

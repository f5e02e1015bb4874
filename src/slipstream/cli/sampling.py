"""`sample`: draw pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from slipstream.cli.screen import out
from slipstream.core.errors import ConfigError
from slipstream.drawings.request import LoraUse
from slipstream.runs.layout import RunDir

if TYPE_CHECKING:
    from slipstream.config.prompts import PromptPanel

TINY_SIDE, FULL_SIDE = 128, 1024


@dataclass(frozen=True)
class SampleOptions:
    """The command's options; None = the model's default."""

    prompts: tuple[str, ...]
    prompts_file: Path | None
    model: str | None
    loras: tuple[str, ...]
    lora_scales: str
    trigger_word: str | None
    out: Path
    negative_prompt: str
    width: int | None
    height: int | None
    steps: int | None
    guidance_scale: float | None
    seed: int
    walk_seed: bool
    device: str


def sample_command(options: SampleOptions) -> None:
    """Draw and list the pictures."""
    from slipstream.config.variants import VARIANTS, extras_of, is_tiny, variant_of
    from slipstream.workflows.sample import SampleRequest, sample

    if options.lora_scales and not options.loras:
        raise ConfigError("there is no LoRA to weigh", where="--lora-scales", fix="name one with --lora.")
    loras = tuple(parse_lora(text) for text in options.loras)
    model = options.model or _trained_on(loras) or VARIANTS["turbo"].default_repo
    variant = variant_of(model)
    facts = VARIANTS[variant]
    side = TINY_SIDE if is_tiny(model) else FULL_SIDE
    scale = facts.guidance_scale if options.guidance_scale is None else options.guidance_scale
    request = SampleRequest(
        model=model,
        extras_from=extras_of(model, variant),
        prompts=_prompts(options),
        out=options.out,
        loras=loras,
        lora_scales=parse_scales(options.lora_scales),
        trigger_word=options.trigger_word,
        negative_prompt=options.negative_prompt,
        width=_side(options.width or side),
        height=_side(options.height or side),
        steps=facts.preview_steps if options.steps is None else options.steps,
        guidance_scale=scale,
        seed=options.seed,
        walk_seed=options.walk_seed,
        device=options.device,
    )
    out.print(f"{escape(model)}: {request.steps} steps, CFG {scale:g}, {request.width} x {request.height}")
    for picture in sample(request, lambda line: out.print(f"[dim]{escape(line)}[/dim]")):
        out.print(f"{escape(str(picture.path))}  [dim]{escape(picture.prompt)}[/dim]")


def _trained_on(loras: Sequence[LoraUse]) -> str | None:
    """The model that the first LoRA with one names in its file, where that name means the same to everybody."""
    from slipstream.adapters.files import load_lora
    from slipstream.config.variants import variant_named

    names = (load_lora(use.path).metadata.get("base_model", "") for use in loras)
    return next((name for name in names if variant_named(name) is not None), None)


def parse_lora(text: str) -> LoraUse:
    """`file.safetensors`, `runs/name`, each with `:weight` if not 1.

    Raises:
        ConfigError: there is no such file, or the weight is no number.
    """
    name, colon, weight = text.rpartition(":")
    if not colon or Path(text).exists():
        name, weight = text, "1"
    path = Path(name).expanduser()
    if path.is_dir():
        path = RunDir(path.resolve()).lora
    try:
        strength = float(weight)
    except ValueError:
        strength = math.nan
    if not math.isfinite(strength):
        raise ConfigError(f"{weight!r} is no weight", where="--lora", fix="write --lora file.safetensors:0.8")
    if not path.is_file():
        raise ConfigError(
            f"there is no LoRA at {path}", where="--lora", fix="give a .safetensors file or a finished run."
        )
    return LoraUse(path, strength)


def parse_scales(text: str) -> tuple[float, ...]:
    """`0.4,0.6,0.8` in rising order; empty for an empty text.

    Raises:
        ConfigError: one of them is no finite number, or is given twice.
    """
    try:
        scales = sorted(float(part) for part in text.split(",")) if text.strip() else []
    except ValueError:
        scales = [math.nan]
    if not all(map(math.isfinite, scales)) or len(set(scales)) < len(scales):
        raise ConfigError(
            f"{text!r} is no list of weights", where="--lora-scales", fix="write --lora-scales 0.4,0.6,0.8,1.0,1.2"
        )
    return tuple(scales)


def _prompts(options: SampleOptions) -> tuple[PromptPanel, ...]:
    from slipstream.config.prompts import parse_prompt, read_prompts

    texts = [text for text in options.prompts if text.strip()]
    prompts = [parse_prompt(text, f"prompt {number}") for number, text in enumerate(texts, 1)]
    if options.prompts_file is not None:
        prompts += read_prompts(options.prompts_file)
    if not prompts:
        raise ConfigError("no prompt was given", where="sample", fix='write slipstream sample "a picture of ..."')
    return tuple(prompts)


def _side(pixels: int) -> int:
    if pixels % 16 or pixels < 32:
        raise ConfigError(
            f"{pixels} is no side length of a picture", where="--width/--height", fix="use a multiple of 16 from 32 on."
        )
    return pixels

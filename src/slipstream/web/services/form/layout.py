"""Which settings a card shows at once and which behind `more`, what is suggested, and how things are called."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import get_args

from slipstream.config.checkpointing import MODES
from slipstream.config.optimizers import OptimizerName
from slipstream.config.presets import PRESETS, preset_text
from slipstream.config.target import TARGET_MODULES
from slipstream.config.variants import NO_ADAPTER, VARIANTS, tiny_name
from slipstream.config.yaml_text import read_yaml
from slipstream.web.services.form.schema import Node
from slipstream.web.services.form.values import given

_ALSO_COMMON = frozenset({
    "job.device", "target.type", "target.alpha", "training.ema", "training.validation",
    "training.preservation", "training.text_encoder", "datasets.0.num_repeats", "sample.seed",
    "advanced.differential_guidance",
})  # fmt: skip
"""What the guide walks through and no preset sets."""

_RARE = frozenset({"training.min_lr_fraction", "training.warmup_steps", "sample.prompts.0.prompt"})
"""What a preset sets and few change."""

_ACRONYMS = {"lr": "LR", "ema": "EMA", "vram": "VRAM", "lora": "LoRA", "lokr": "LoKr", "num": "number of"}

SUGGESTED: Mapping[str, tuple[str | float, ...]] = MappingProxyType({
    "job.device": ("auto", "cpu", "cuda", "cuda:0", "cuda:1"),
    "model.training_adapter": (*VARIANTS["turbo"].adapters, NO_ADAPTER),
    "quantization.layer_offloading": ("auto", 0, 50, 100),
    "training.gradient_checkpointing": (*MODES, "12 GiB"),
    "training.optimizer": get_args(OptimizerName),
    "training.ema.warmup": ("true", "false", 100),
    "datasets.0.resolutions": (512, 768, 1024),
    "datasets.0.caption_extension": ("txt", "caption", "json"),
    "target.target_modules": TARGET_MODULES,
    "target.blocks": ("all", "0-9", "10-19", "20-29"),
    "sample.lora_scales": (0.4, 0.6, 0.8, 1.0, 1.2),
})  # fmt: skip
"""Choices that a setting offers beside whatever else it takes."""


def suggestions(path: str, variant: object = None) -> tuple[str | float, ...]:
    """What may be offered for a setting (a path with 0 for any row); names of bases are the variant's."""
    if path == "model.name_or_path":
        kind = variant if isinstance(variant, str) and variant in VARIANTS else "turbo"
        return VARIANTS[kind].default_repo, tiny_name(kind)
    return SUGGESTED.get(path, ())


def follows_base(path: str, variant: object = None) -> float | None:
    """What a preview setting is where it is left out, as the table of variants has it; None for other settings."""
    facts = VARIANTS[variant if isinstance(variant, str) and variant in VARIANTS else "turbo"]
    return {"sample.steps": facts.preview_steps, "sample.guidance_scale": facts.guidance_scale}.get(path)


@cache
def _common() -> frozenset[str]:
    """What any preset sets, and the guide's others."""
    paths = [path for name in PRESETS for path in given(read_yaml(preset_text(name), name))]
    dotted = {".".join("0" if isinstance(part, int) else part for part in path) for path in paths}
    return (frozenset(dotted) | _ALSO_COMMON) - _RARE


def is_common(node: Node) -> bool:
    """Whether a card shows this setting or group at once."""
    return any(node.path == path or path.startswith(f"{node.path}.") for path in _common())


def label(name: str) -> str:
    """`lr_schedule` as people read it."""
    words = [_ACRONYMS.get(word, word) for word in name.split("_")]
    text = " ".join(words)
    return text[0].upper() + text[1:]


def first_sentence(text: str) -> str:
    """The short form of a help."""
    text = plain(text)
    for place, sign in enumerate(text):
        ends = sign in ".:;" and text[place + 1 : place + 2] == " " and not text[:place].endswith(("e.g", "i.e"))
        if ends and place > 20:
            return text[:place] + "."
    return text


def plain(text: str) -> str:
    """A help without the marks around names and values."""
    return text.replace("`", "")

"""Facts about the bases, each declared once: repositories, training adapters, and how to preview."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slipstream.config.model import ModelPanel
    from slipstream.config.run_config import RunConfig

NO_ADAPTER = "none"
TINY_PREFIX = "tiny/"
TINY_EXTRAS = "tiny/turbo"
CACHE_VARIABLE = "SLIPSTREAM_CACHE"
DEFAULT_CACHE = Path("~/.cache/slipstream")

_ADAPTER_REPO = "ostris/zimage_turbo_training_adapter"
_TINY_ADAPTERS = {name: f"tiny/adapters/training_adapter_{name}.safetensors" for name in ("v1", "v2")}


@dataclass(frozen=True)
class VariantFacts:
    """One kind of base.

    Attributes:
        label: the name that users' guides give it.
        default_repo: hub id of its transformer, and of the rest where `extras_repo` is None.
        extras_repo: hub id of text encoder, tokenizer and VAE where `default_repo` lacks them.
        preview_steps: steps of a preview unless set.
        min_preview_steps: below this a preview looks unfinished whatever was trained.
        guidance_scale: CFG of a preview unless set (0 or 1 = off).
        adapters: short names of its training adapters -> `org/repo/file.safetensors`; empty where
            none is used.
    """

    label: str
    default_repo: str
    preview_steps: int
    min_preview_steps: int
    guidance_scale: float
    extras_repo: str | None = None
    adapters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def uses_training_adapter(self) -> bool:
        """Whether training needs an adapter to keep the base's few steps."""
        return bool(self.adapters)


VARIANTS: Mapping[str, VariantFacts] = MappingProxyType(
    {
        "turbo": VariantFacts(
            label="Z-Image Turbo (w/ Training Adapter)",
            default_repo="Tongyi-MAI/Z-Image-Turbo",
            preview_steps=8,
            min_preview_steps=8,
            guidance_scale=0.0,
            adapters=MappingProxyType(
                {
                    "v1": f"{_ADAPTER_REPO}/zimage_turbo_training_adapter_v1.safetensors",
                    "v2": f"{_ADAPTER_REPO}/zimage_turbo_training_adapter_v2.safetensors",
                }
            ),
        ),
        "de_turbo": VariantFacts(
            label="Z-Image De-Turbo (De-Distilled)",
            default_repo="ostris/Z-Image-De-Turbo",
            preview_steps=25,
            min_preview_steps=20,
            guidance_scale=2.5,
            extras_repo="Tongyi-MAI/Z-Image-Turbo",
        ),
        "base": VariantFacts(
            label="Z-Image (Base)",
            default_repo="Tongyi-MAI/Z-Image",
            preview_steps=40,
            min_preview_steps=28,
            guidance_scale=4.0,
        ),
    }
)


def is_tiny(name: str) -> bool:
    """Whether a model name means one of the packaged tiny family."""
    return name.startswith(TINY_PREFIX)


def tiny_name(variant: str) -> str:
    """The packaged model of a variant, such as `tiny/de-turbo`."""
    return TINY_PREFIX + variant.replace("_", "-")


def variant_named(name: str) -> str | None:
    """The variant that a well-known name, or a file of a well-known repository, stands for; None for others."""
    known = name.partition("@")[0].replace("_", "-").lower()
    if is_single_file(name) and not Path(name).is_absolute():
        known = "/".join(known.split("/")[:2])
    for variant, facts in VARIANTS.items():
        if known in (facts.default_repo.lower(), tiny_name(variant)):
            return variant
    return None


def variant_hinted(name: str) -> str | None:
    """The variant that the last part of a path or name suggests, such as `z_image_de_turbo_v1_bf16.safetensors`."""
    plain = re.sub(r"[^a-z]", "", name.partition("@")[0].rstrip("/").rpartition("/")[2].lower())
    return "de_turbo" if "deturbo" in plain else "turbo" if "turbo" in plain else None


def is_single_file(name: str) -> bool:
    """Whether a model name means a transformer in one file, on this machine or on the hub."""
    return name.partition("@")[0].endswith(".safetensors")


def variant_of(name: str) -> str:
    """The variant to take a model for where only its name is known; one that suggests nothing counts as Turbo."""
    return variant_named(name) or variant_hinted(name) or "turbo"


def extras_for(name: str, variant: str | None = None) -> str:
    """Where parts that a model lacks come from: tiny ones from `tiny/turbo`, else as the variant has it."""
    return extras_of(name, variant or variant_of(name))


def adapter_source(model: ModelPanel) -> str | None:
    """Where the training adapter comes from: a path or `org/repo/file.safetensors`; None where none is
    used."""
    if model.variant != "turbo" or model.training_adapter == NO_ADAPTER:
        return None
    known = _TINY_ADAPTERS if is_tiny(model.name_or_path) else VARIANTS["turbo"].adapters
    return known.get(model.training_adapter, model.training_adapter)


def extras_source(model: ModelPanel) -> str:
    """Where parts that the base itself lacks come from; the base itself where it is whole."""
    return model.extras_from or extras_of(model.name_or_path, model.variant)


def extras_of(name: str, variant: str) -> str:
    """Where the parts come from that a model of this name and variant lacks, unless a config says."""
    if is_tiny(name):
        return TINY_EXTRAS
    facts = VARIANTS[variant]
    return facts.extras_repo or (facts.default_repo if is_single_file(name) else name)


def preview_steps(config: RunConfig) -> int:
    """Steps of a preview: as set, else the variant's."""
    steps = config.sample.steps
    return VARIANTS[config.model.variant].preview_steps if steps is None else steps


def preview_guidance(config: RunConfig) -> float:
    """CFG of a preview (0 or 1 = off): as set, else the variant's."""
    scale = config.sample.guidance_scale
    return VARIANTS[config.model.variant].guidance_scale if scale is None else scale


def cache_root(config: RunConfig) -> Path:
    """Folder of the latent and caption caches: as set, else `SLIPSTREAM_CACHE`, else
    `~/.cache/slipstream`."""
    chosen = config.advanced.cache_dir or Path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE)
    return chosen.expanduser()

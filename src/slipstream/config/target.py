"""TARGET: the shape of the LoRA."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, StrictFloat, StrictInt

from slipstream.config.panel import PANEL

TARGET_MODULES = (
    "attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0",
    "feed_forward.w1", "feed_forward.w2", "feed_forward.w3", "adaLN_modulation.0",
)  # fmt: skip


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"got {', '.join(twice)} more than once, expected every module once")
    return names


class TargetPanel(BaseModel):
    """TARGET: kind, rank and alpha of the LoRA, and the layers it sits on."""

    model_config = PANEL

    type: Literal["lora"] = "lora"
    """What is trained: `lora`."""

    rank: Annotated[StrictInt, Field(ge=1, le=512)] = 16
    """Size of the LoRA (linear rank). 16 for styles and textures, 8 for a smaller and subtler LoRA."""

    alpha: Annotated[StrictFloat, Field(gt=0)] | None = None
    """The LoRA's effect is multiplied by alpha / rank. Left out alpha equals the rank, so the factor is 1."""

    target_modules: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1), AfterValidator(_each_once)
    ] = TARGET_MODULES
    """Linear layers, in each of the main blocks, that get a LoRA branch. Leave out `adaLN_modulation.0` for a
    LoRA that is about a fifth smaller."""

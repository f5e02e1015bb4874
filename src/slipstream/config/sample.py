"""SAMPLE: the previews drawn while training."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StrictBool, StrictFloat, StrictInt

from slipstream.config.panel import MAX_SEED, PANEL

Side = Annotated[StrictInt, Field(ge=64, le=4096, multiple_of=16)]


class SamplePanel(BaseModel):
    """SAMPLE: prompts and settings of the previews. Let them match the base: left out, they do."""

    model_config = PANEL

    every: Annotated[StrictInt, Field(ge=0)] = 250
    """Draw the previews every this many steps; 0 draws them only at the end."""

    prompts: tuple[str, ...] = ()
    """What to draw; `[trigger]` becomes the trigger word. 5-10 prompts of real use, and a couple without the
    trigger to see whether it leaks. None draws nothing."""

    negative_prompt: str = ""
    """What to steer away from; it acts only where guidance is on."""

    width: Side = 1024
    """Width of the previews in pixels, a multiple of 16."""

    height: Side = 1024
    """Height of the previews in pixels, a multiple of 16."""

    steps: Annotated[StrictInt, Field(ge=1, le=200)] | None = None
    """Denoising steps of a preview. Left out: 8 for Turbo, 25 for De-Turbo, 40 for Base."""

    guidance_scale: Annotated[StrictFloat, Field(ge=0, le=30)] | None = None
    """Guidance in the CFG sense; 0 or 1 is off. Left out: 0 for Turbo, 2.5 for De-Turbo, 4 for Base.
    Diffusers' own argument for Z-Image is this value minus 1."""

    seed: Annotated[StrictInt, Field(ge=0, le=MAX_SEED)] = 42
    """Seed of the previews' noise; it stays the same from step to step, so previews can be compared."""

    walk_seed: StrictBool = False
    """Give each prompt its own noise: seed, seed + 1, seed + 2 and so on."""

    at_start: StrictBool = True
    """Draw the previews before the first step too, to see the base without the LoRA."""

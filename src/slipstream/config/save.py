"""SAVE: how often checkpoints are written, and how many stay."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictInt

from slipstream.config.panel import PANEL

SaveDtype = Literal["bf16", "fp16", "fp32"]


class SavePanel(BaseModel):
    """SAVE: data type and rhythm of the saved LoRAs."""

    model_config = PANEL

    dtype: SaveDtype = "bf16"
    """Number format in the LoRA files: `bf16`, `fp16` or `fp32` (twice the size). bf16 is right for nearly
    everyone."""

    every: Annotated[StrictInt, Field(ge=0)] = 250
    """Save a checkpoint every this many steps; 0 saves only at the end."""

    keep: Annotated[StrictInt, Field(ge=0)] = 4
    """How many of the newest checkpoints stay on disk (4-12 is usual); 0 keeps all."""

"""What a person asks the playground for, as pages and programs send it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from slipstream.config.panel import MAX_SEED, PANEL
from slipstream.config.quantization import Precision

MOST_LORAS = 8
MOST_PICTURES = 144
MOST_VALUES = 16
MOST_SIDE = 2048
Variant = Literal["turbo", "de_turbo", "base"]
AxisKind = Literal["weight", "checkpoint", "seed", "steps", "guidance", "prompt"]
Weight = Annotated[float, Field(ge=-4, le=4, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=4000)]
Side = Annotated[int, Field(ge=64, le=MOST_SIDE, multiple_of=16)]
Steps = Annotated[int, Field(ge=1, le=100)]
Guidance = Annotated[float, Field(ge=0, le=30, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class LoraForm(BaseModel):
    """A LoRA and its weight: a file of a run's list of checkpoints, or of the folder of LoRAs."""

    model_config = PANEL

    file: Annotated[str, Field(min_length=1, max_length=400)]
    """Its name in the run's list, or its path from the folder of LoRAs, with slashes."""

    run: Annotated[str, Field(max_length=120)] = ""
    """The run's name; empty: the file is in the folder of LoRAs."""

    weight: Weight = 1.0
    """How strongly it acts; 0 is the base as it is."""


class AxisForm(BaseModel):
    """What differs along a grid's rows or columns."""

    model_config = PANEL

    kind: AxisKind
    """`weight` and `checkpoint` are those of one LoRA."""

    values: Annotated[list[float | str], Field(min_length=1, max_length=MOST_VALUES)]
    """Weights, names of checkpoints, seeds, steps, CFGs or prompts."""

    lora: Annotated[int, Field(ge=0, lt=MOST_LORAS)] = 0
    """The number of the LoRA in the list, from 0."""


class DrawingForm(BaseModel):
    """A drawing: one picture, some with different seeds, or a grid."""

    model_config = PANEL

    model: Annotated[str, Field(min_length=1, max_length=300)]
    """The base: `tiny/turbo`, a hub id, or the base of one of the runs."""

    variant: Variant | None = None
    """Its kind, which says how many steps it needs; left out: as its name suggests."""

    extras_from: Annotated[str, Field(max_length=300)] | None = None
    """Where parts come from that the base lacks; left out: as the variant has it."""

    precision: Precision = "auto"
    """How the transformer's weights are kept; float8 takes half the memory."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|gpu:\d{1,3})$")] = "auto"
    """Where to draw; `auto` takes the first GPU on which nothing is trained."""

    share_gpu: bool = False
    """Draw on a GPU even while something is trained there."""

    loras: Annotated[list[LoraForm], Field(max_length=MOST_LORAS)] = []
    """All of them act at once."""

    prompt: Text
    """What to draw; `[trigger]` becomes the trigger word."""

    trigger_word: Annotated[str, Field(max_length=100)] | None = None
    """What `[trigger]` becomes; left out: the trigger word of the first LoRA with one."""

    negative_prompt: Text = ""
    """What not to draw; acts with guidance only."""

    width: Side = 1024
    """Unit: pixels, a multiple of 16."""

    height: Side = 1024
    """Unit: pixels, a multiple of 16."""

    steps: Steps | None = None
    """Denoising steps; left out: the variant's."""

    guidance_scale: Guidance | None = None
    """CFG, 0 or 1 = off; left out: the variant's."""

    seed: Seed | None = None
    """Of the first picture's noise; left out: a random one."""

    count: Annotated[int, Field(ge=1, le=64)] = 1
    """Pictures; each has the seed of the one before plus 1."""

    without_lora: bool = False
    """Draw each picture a second time with all weights at 0, to compare."""

    columns: AxisForm | None = None
    """A grid: what differs from left to right."""

    rows: AxisForm | None = None
    """A grid: what differs from top to bottom."""

    @model_validator(mode="after")
    def _grid_alone(self) -> Self:
        if self.rows is not None and self.columns is None:
            raise ValueError("rows were given without columns; a grid of one axis has columns")
        if self.columns is not None and (self.count > 1 or self.without_lora):
            raise ValueError(
                "a grid has count 1 and no pictures without LoRA; give it an axis of seeds, or the weight 0"
            )
        axes = [axis for axis in (self.columns, self.rows) if axis is not None]
        if (
            len(axes) == 2
            and axes[0].kind == axes[1].kind
            and (axes[0].kind != "weight" or axes[0].lora == axes[1].lora)
        ):
            raise ValueError(f"both axes are of the kind {axes[0].kind!r}")
        if self.without_lora and not self.loras:
            raise ValueError("without_lora needs LoRAs to leave out")
        return self

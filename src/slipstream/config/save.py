"""SAVE: how often checkpoints are written, and how many stay."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, StrictBool, StrictInt

from slipstream.config.panel import PANEL

SaveDtype = Literal["bf16", "fp16", "fp32"]


def _a_repository(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", value) or "--" in value or ".." in value:
        raise ValueError(f"got {value!r}, expected the hub's owner/name, such as anna/my_style")
    return value


class PushPanel(BaseModel):
    """Where on the Hugging Face hub the finished LoRA goes, with a card and a few previews."""

    model_config = PANEL

    repo: Annotated[str, AfterValidator(_a_repository)]
    """The repository as owner/name; it is made where there is none. A card that is there already is kept.

    Careful: the token never stands in a config: `hf auth login`, or HF_TOKEN in the environment.
    """

    private: StrictBool = True
    """Whether a new repository is private; one that exists stays as it is.

    Careful: the card and the LoRA hold your prompts, the trigger word and the settings.
    """


class SavePanel(BaseModel):
    """SAVE: data type and rhythm of the saved LoRAs."""

    model_config = PANEL

    dtype: SaveDtype = "bf16"
    """Number format in the LoRA files: `bf16`, `fp16` or `fp32` (twice the size). bf16 is right for nearly everyone.

    Change it when: an old program reads no bf16 (fp16), or you will merge or resize the LoRA further (fp32).
    Careful: fp16 ends at 65,504; larger values are cut off there, and the log says so.
    """

    every: Annotated[StrictInt, Field(ge=0)] = 250
    """Save a checkpoint every this many steps; 0 saves only at the end. A checkpoint is a LoRA to try and, for the
    newest two, the state from which `slipstream resume` goes on.

    Unit: updates.
    Change it when: the best step is passed quickly (small sets: 100), or disk space is short.
    """

    keep: Annotated[StrictInt, Field(ge=0)] = 4
    """How many of the newest checkpoints stay on disk (4-12 is usual); 0 keeps all. A new one is written before an old
    one goes.

    Careful: the best checkpoint is often not the last; keep enough of them to go back before it overfitted.
    """

    keep_every: Annotated[StrictInt, Field(ge=0)] = 0
    """Checkpoints whose step is a multiple of this are never removed, and do not count among the newest `keep`; 0 makes
    no exceptions.

    Unit: updates, a multiple of `every`.
    Change it when: the run is long and you want a trace of it without keeping every checkpoint.
    """

    push_to_hub: PushPanel | None = None
    """Upload the finished LoRA to the Hugging Face hub. A failure is told and never fails the training:
    `slipstream push RUN` tries again."""

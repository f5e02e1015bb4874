"""DATASETS: folders of pictures with captions. A config has one or more of these panels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StrictBool, StrictFloat, StrictInt

from slipstream.config.panel import PANEL


def _a_folder(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise ValueError("got an empty path, expected the folder that holds the pictures")
    return value


def _as_list(value: Any) -> Any:
    """One resolution may be written without brackets."""
    return (value,) if isinstance(value, int) else value


def _each_once(resolutions: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(resolutions)) < len(resolutions):
        raise ValueError(
            f"got {list(resolutions)}, expected every resolution once; num_repeats shows pictures more often"
        )
    return resolutions


def _extension(value: str) -> str:
    extension = value.strip().removeprefix(".")
    if not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", extension):
        raise ValueError(f"got {value!r}, expected a file extension such as `txt`")
    return extension


def _some_strength(value: float) -> float:
    if not value:
        raise ValueError("got 0, expected a strength at which something is learned; 1 is usual")
    return value


Regularization = Literal["pictures", "prior"]
Resolution = Annotated[StrictInt, Field(ge=64, le=4096)]


class DatasetPanel(BaseModel):
    """DATASETS: one folder of pictures (jpg, jpeg, png, webp), each with `<name>.txt` beside it."""

    model_config = PANEL

    path: Annotated[Path, BeforeValidator(_a_folder)]
    """Folder with the pictures; a relative path starts at the folder of the YAML file. 10-30 pictures suit
    most LoRAs."""

    resolutions: Annotated[
        tuple[Resolution, ...], Field(min_length=1), BeforeValidator(_as_list), AfterValidator(_each_once)
    ] = (512, 768, 1024)
    """Sizes to train at, in pixels: 768 means an area of 768 x 768 in any aspect ratio. Pictures are never
    enlarged."""

    num_repeats: Annotated[StrictInt, Field(ge=1)] = 1
    """How often each picture comes up per epoch; use it to balance several datasets."""

    default_caption: str = ""
    """Caption of pictures that have none. It may hold `[trigger]`."""

    caption_extension: Annotated[str, AfterValidator(_extension)] = "txt"
    """Extension of the caption files: `txt` means `photo.txt` beside `photo.jpg`."""

    caption_dropout: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.05
    """Share of draws in which the caption is dropped, so that it also learns without words; 0 is off."""

    lora_weight: Annotated[StrictFloat, Field(ge=-2, le=2), AfterValidator(_some_strength)] = 1.0
    """Strength of the LoRA while it learns these pictures; 1 is the strength at which it is used.

    Formula: W + lora_weight * scale * B A.
    Change it when: two sets show opposites of one quality (1 and -1 make a slider), or a set should be learned so
    that it shows only above strength 1 (0.5).
    Careful: pictures of different weights never share a batch; below 0 the LoRA learns to be taken away.
    """

    loss_multiplier: Annotated[StrictFloat, Field(gt=0, le=100)] = 1.0
    """How much these pictures count in the loss, compared with the other sets.

    Formula: loss of a sample * loss_multiplier.
    Change it when: a set should guide less than the others (0.5) without being shown less often.
    Careful: with a single set it does little, because Adam evens out the size of gradients.
    """

    regularization: Regularization | None = None
    """Marks a set that holds the model in place instead of teaching it something new. `pictures` are learned as they
    are; `prior` asks for what the model itself predicts without the LoRA. The trigger word is never put in front.

    Change it when: the LoRA bleeds: people, objects or styles of the same kind change without the trigger word.
    Careful: such pictures take steps from the others; with `pictures` the LoRA also learns their style.
    """

    flip_horizontal: StrictBool = False
    """Mirror half of the draws. Not for faces, text, or anything with a left and a right."""

    cache_latents: StrictBool = True
    """Encode every picture once and keep it on disk, so that steps are faster and the VAE is not needed while
    training."""

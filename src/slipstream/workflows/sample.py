"""Pictures from a model with any LoRAs, outside of training: exactly what ComfyUI or diffusers would draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream.core.errors import RunError
from slipstream.drawings.request import Base, LoraUse

if TYPE_CHECKING:
    from torch import Tensor

    from slipstream.config.prompts import PromptPanel
    from slipstream.previews.render import Picture


@dataclass(frozen=True)
class SampleRequest:
    """What to draw. `guidance_scale` is CFG: 0 or 1 = off.

    A prompt's own settings come before these; with `lora_scales` every prompt is drawn at each of these weights of all
    LoRAs together. `trigger_word` takes the place of `[trigger]`; None: the LoRAs' own.
    """

    model: str
    extras_from: str
    prompts: tuple[PromptPanel, ...]
    out: Path
    loras: tuple[LoraUse, ...] = ()
    lora_scales: tuple[float, ...] = ()
    trigger_word: str | None = None
    negative_prompt: str = ""
    width: int = 1024
    height: int = 1024
    steps: int = 8
    guidance_scale: float = 0.0
    seed: int = 42
    walk_seed: bool = False
    device: str = "auto"
    transformer_dtype: str = "auto"
    text_encoder_dtype: str = "auto"


@dataclass(frozen=True)
class Sampled:
    """One finished picture; `prompt` says what it shows."""

    prompt: str
    path: Path


def sample(request: SampleRequest, log: Callable[[str], None]) -> Iterator[Sampled]:
    """Draw every prompt and yield each picture as it is written; after a sweep of weights its sheet too.

    Raises:
        SlipstreamError: the model or a LoRA is missing or does not fit.
    """
    from slipstream.previews.drawing import draw
    from slipstream.previews.png import save_png
    from slipstream.training.drawing_model import Told, settle_drawing_model
    from slipstream.training.preview_stage import picture_metadata
    from slipstream.training.shareable import drawn_with

    _make_folder(request.out)
    told = Told(log)
    base = Base(request.model, request.extras_from, request.transformer_dtype, request.text_encoder_dtype)
    model = settle_drawing_model(base, request.device, told)
    prompts = _pictures(request)
    scales = request.lora_scales or (None,)
    pictures = [p if scale is None else replace(p, lora_scale=scale) for scale in scales for p in prompts]
    model.encode((text for one in pictures for text in (one.prompt, one.negative_prompt)), told)
    model.drop_encoder()
    model.use(request.loras, told)
    first = _next_number(request.out)
    paths = [request.out / f"{first + number:04d}.png" for number in range(len(pictures))]
    facts = drawn_with(request.model, request.loras)

    def write(number: int, image: Tensor) -> None:
        save_png(paths[number], image, picture_metadata(pictures[number], 0, facts))

    with closing(draw(model.renderer(), pictures, write)) as drawn:
        for number in drawn:
            yield Sampled(_caption(pictures[number], request), paths[number])
    if request.lora_scales:
        yield Sampled("LoRA weights by prompts", _write_weights(request, prompts, paths, first))


def _caption(picture: Picture, request: SampleRequest) -> str:
    return f"{picture.prompt}, weight {picture.lora_scale:g}" if request.lora_scales else picture.prompt


def _write_weights(request: SampleRequest, prompts: Sequence[Picture], paths: Sequence[Path], first: int) -> Path:
    """The sheet of a sweep: rows = weights, columns = prompts."""
    from slipstream.reports.headings import headings_of
    from slipstream.reports.sheet import Sheet, write_sheet
    from slipstream.training.pictures import picture_facts

    cells = {divmod(number, len(prompts)): path for number, path in enumerate(paths)}
    headings = headings_of(picture_facts([replace(picture, lora_scale=1.0) for picture in prompts]))
    title = " + ".join(use.path.stem for use in request.loras)
    rows = [f"weight {scale:g}" for scale in request.lora_scales]
    return write_sheet(request.out / f"lora_weights_{first:04d}.png", Sheet(title, rows, headings, cells))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot make the folder for the pictures: {error}", where=str(folder), fix="give another --out."
        ) from error


def _next_number(folder: Path) -> int:
    """One more than the highest number of a picture or a sheet: earlier ones are never written over."""
    stems = (path.stem.removeprefix("lora_weights_") for path in folder.glob("*.png"))
    return max((int(stem) for stem in stems if stem.isdecimal()), default=-1) + 1


def _pictures(request: SampleRequest) -> tuple[Picture, ...]:
    from slipstream.training.pictures import PictureDefaults, pictures_of

    trigger = _trigger_of(request.loras) if request.trigger_word is None else request.trigger_word
    defaults = PictureDefaults(
        negative_prompt=request.negative_prompt,
        width=request.width,
        height=request.height,
        steps=request.steps,
        guidance_scale=request.guidance_scale,
        seed=request.seed,
        walk_seed=request.walk_seed,
        trigger_word=trigger,
    )
    return pictures_of(request.prompts, defaults)


def _trigger_of(loras: Sequence[LoraUse]) -> str:
    """The trigger word that the first LoRA with one names in its file."""
    from slipstream.adapters.files import load_lora

    words = (load_lora(use.path).metadata.get("modelspec.trigger_phrase", "") for use in loras)
    return next((word for word in words if word), "")

"""Pictures from a model with any LoRAs, outside of training: exactly what ComfyUI or diffusers would draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream.core.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from slipstream.adapters.branches import BranchSet
    from slipstream.config.prompts import PromptPanel
    from slipstream.models.z_image.family import ZImage
    from slipstream.models.z_image.hub import OnDownload
    from slipstream.previews.render import Picture, Renderer
    from slipstream.training.device import Compute


@dataclass(frozen=True)
class LoraUse:
    """A LoRA file and its weight."""

    path: Path
    strength: float = 1.0


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
    from slipstream.training.device import choose_compute
    from slipstream.training.preview_stage import picture_metadata
    from slipstream.training.setting import settle_model
    from slipstream.training.shareable import shared_name

    _make_folder(request.out)
    compute = choose_compute(request.device, request.transformer_dtype, request.text_encoder_dtype)
    for line in compute.reasons:
        log(line)
    model = settle_model(request.model, request.extras_from, compute, _told_by(log))
    prompts = _pictures(request)
    scales = request.lora_scales or (None,)
    pictures = [p if scale is None else replace(p, lora_scale=scale) for scale in scales for p in prompts]
    renderer = _renderer(request, model, compute, pictures, log)
    first = _next_number(request.out)
    paths = [request.out / f"{first + number:04d}.png" for number in range(len(pictures))]
    facts = {
        "model": shared_name(request.model),
        "lora": ", ".join(f"{use.path.name}:{use.strength:g}" for use in request.loras),
    }

    def write(number: int, image: Tensor) -> None:
        save_png(paths[number], image, picture_metadata(pictures[number], 0, facts))

    with closing(draw(renderer, pictures, write)) as drawn:
        for number in drawn:
            yield Sampled(_caption(pictures[number], request), paths[number])
    if request.lora_scales:
        yield Sampled("LoRA weights by prompts", _write_weights(request, prompts, paths, first))


def _told_by(log: Callable[[str], None]) -> OnDownload:
    def on_download(what: str, total: int) -> AbstractContextManager[Callable[[int, int], None]]:
        log(f"{what}: {total / 1024:.2f} GiB")
        return nullcontext(lambda done, total: None)

    return on_download


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


def _renderer(
    request: SampleRequest, model: ZImage, compute: Compute, pictures: Sequence[Picture], log: Callable[[str], None]
) -> Renderer:
    from slipstream.kernels.attention import PLAIN_LINE
    from slipstream.models.z_image.family import predictor, release_memory
    from slipstream.previews.render import Renderer
    from slipstream.training.fast_path import fast_path
    from slipstream.training.preview_stage import scaled

    encoder = model.load_text_encoder()
    captions = dict.fromkeys(text for p in pictures for text in (p.prompt, p.negative_prompt))
    features = {caption: encoder.encode([caption])[0] for caption in captions}
    del encoder
    release_memory()
    transformer = model.load_transformer()
    loras = attach_loras(transformer, request.loras, log)
    fast, lines = fast_path(transformer, None, model.device, float8=compute.float8_products)
    for line in lines if fast is not None else (*lines, PLAIN_LINE):
        log(line)
    codec = model.load_codec()
    predict = fast.predict if fast is not None else predictor(transformer)
    return Renderer(
        predict=predict, decode=codec.decode, features=features.__getitem__,
        shift_at=model.load_shift().at, device=model.device, latent_downscale=codec.downscale,
        at_lora_scale=scaled(loras),
    )  # fmt: skip


def attach_loras(
    transformer: nn.Module, loras: tuple[LoraUse, ...], log: Callable[[str], None]
) -> list[tuple[BranchSet, float]]:
    """Put LoRA files beside the transformer's linears, each with its weight; returns them with their weights."""
    from slipstream.adapters.files import load_lora
    from slipstream.adapters.inject import inject_weights
    from slipstream.models.z_image.family import MODULE_ALIASES

    attached = []
    for number, use in enumerate(loras):
        file = load_lora(use.path)
        branches, line = inject_weights(
            transformer, file.modules, role=f"lora_{number}", source=str(use.path), aliases=MODULE_ALIASES
        )
        branches.set_strength(use.strength)
        attached.append((branches, use.strength))
        kinds = "" if file.kinds == ("lora",) else f" ({', '.join(file.kinds)})"
        log(f"{use.path.name}{kinds}: {line}, weight {use.strength:g}")
    return attached

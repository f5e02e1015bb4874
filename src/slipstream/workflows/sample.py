"""Pictures from a model with any LoRAs, outside of training: exactly what ComfyUI or diffusers would draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream.core.errors import RunError

if TYPE_CHECKING:
    from torch import nn

    from slipstream.models.z_image.family import ZImage
    from slipstream.previews.render import Picture, Renderer


@dataclass(frozen=True)
class LoraUse:
    """A LoRA file and its weight."""

    path: Path
    strength: float = 1.0


@dataclass(frozen=True)
class SampleRequest:
    """What to draw. `guidance_scale` is CFG: 0 or 1 = off."""

    model: str
    extras_from: str
    prompts: tuple[str, ...]
    out: Path
    loras: tuple[LoraUse, ...] = ()
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
    """One finished picture."""

    prompt: str
    path: Path


def sample(request: SampleRequest, log: Callable[[str], None]) -> Iterator[Sampled]:
    """Draw every prompt and yield each picture as it is written.

    Raises:
        SlipstreamError: the model or a LoRA is missing or does not fit.
    """
    from slipstream.previews.png import save_png
    from slipstream.previews.render import render
    from slipstream.training.device import choose_compute
    from slipstream.training.preview_stage import picture_metadata
    from slipstream.training.setting import settle_model

    _make_folder(request.out)
    compute = choose_compute(request.device, request.transformer_dtype, request.text_encoder_dtype)
    for line in compute.reasons:
        log(line)
    model = settle_model(request.model, request.extras_from, compute)
    pictures = _pictures(request)
    renderer = _renderer(request, model, pictures, log)
    first = _next_number(request.out)
    facts = {"model": request.model, "lora": ", ".join(f"{use.path.name}:{use.strength:g}" for use in request.loras)}
    for number, image in render(renderer, pictures):
        path = request.out / f"{first + number:04d}.png"
        save_png(path, image, picture_metadata(pictures[number], 0, facts))
        yield Sampled(pictures[number].prompt, path)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot make the folder for the pictures: {error}", where=str(folder), fix="give another --out."
        ) from error


def _next_number(folder: Path) -> int:
    """One more than the highest numbered picture: earlier ones are never written over."""
    return max((int(path.stem) for path in folder.glob("*.png") if path.stem.isdecimal()), default=-1) + 1


def _pictures(request: SampleRequest) -> tuple[Picture, ...]:
    from slipstream.previews.render import Picture

    return tuple(
        Picture(
            prompt=prompt,
            negative_prompt=request.negative_prompt,
            width=request.width,
            height=request.height,
            seed=request.seed + (number if request.walk_seed else 0),
            steps=request.steps,
            guidance_scale=request.guidance_scale,
        )
        for number, prompt in enumerate(request.prompts)
    )


def _renderer(
    request: SampleRequest, model: ZImage, pictures: tuple[Picture, ...], log: Callable[[str], None]
) -> Renderer:
    from slipstream.models.z_image.family import predictor, release_memory
    from slipstream.previews.render import Renderer

    encoder = model.load_text_encoder()
    captions = dict.fromkeys(text for p in pictures for text in (p.prompt, p.negative_prompt))
    features = {caption: encoder.encode([caption])[0] for caption in captions}
    del encoder
    release_memory()
    transformer = model.load_transformer()
    attach_loras(transformer, request.loras, log)
    codec = model.load_codec()
    return Renderer(
        predict=predictor(transformer), decode=codec.decode, features=features.__getitem__,
        shift_at=model.load_shift().at, device=model.device, latent_downscale=codec.downscale,
    )  # fmt: skip


def attach_loras(transformer: nn.Module, loras: tuple[LoraUse, ...], log: Callable[[str], None]) -> None:
    """Put LoRA files beside the transformer's linears, each with its weight."""
    from slipstream.adapters.files import load_lora
    from slipstream.adapters.inject import inject_weights

    for number, use in enumerate(loras):
        branches, line = inject_weights(
            transformer, load_lora(use.path).pairs, role=f"lora_{number}", source=str(use.path)
        )
        branches.set_strength(use.strength)
        log(f"{use.path.name}: {line}, weight {use.strength:g}")

"""Rendering pictures on the path a user of diffusers or ComfyUI will take: same noise, same schedule, same arithmetic.

The noise of a picture is `torch.randn` of a CPU generator seeded with the picture's seed, so a preview can be had
again in diffusers with `generator=torch.Generator("cpu").manual_seed(seed)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from slipstream.flow.solvers import euler_sigmas, guided, solve_euler

LATENT_CHANNELS = 16


@dataclass(frozen=True)
class Picture:
    """What to render. `guidance_scale` is CFG (0 or 1 = off): velocity = neg + cfg * (pos - neg).

    `lora_scale` multiplies the LoRA's effect. `has_trigger` says whether the prompt asks for what was trained; None:
    there is no trigger word.
    """

    prompt: str
    negative_prompt: str
    width: int
    height: int
    seed: int
    steps: int
    guidance_scale: float
    lora_scale: float = 1.0
    has_trigger: bool | None = None

    @property
    def uses_guidance(self) -> bool:
        """Whether a second, negative pass is needed."""
        return self.guidance_scale not in (0.0, 1.0)

    @property
    def shape(self) -> tuple[int, int, int, float, float]:
        """Pictures of equal shape share a batch."""
        return (self.height, self.width, self.steps, self.guidance_scale, self.lora_scale)


def without_lora(lora_scale: float) -> AbstractContextManager[None]:
    """The model as it is: there is nothing to scale."""
    return nullcontext()


@dataclass(frozen=True)
class Renderer:
    """The model seen from a picture: functions only, so previews never ask which family they draw with.

    Attributes:
        predict: (noisy_BCHW, sigma_B, list of caption features (tokens, T)) -> velocity_BCHW.
        decode: latents_BCHW -> images (B, 3, H, W) in [0, 1].
        features: caption -> features (tokens, T); already encoded, so nothing loads while rendering.
        shift_at: number of image tokens -> sampling shift.
        at_lora_scale: LoRA weight -> a block in which `predict` uses the LoRA at that weight.
    """

    predict: Callable[[Tensor, Tensor, list[Tensor]], Tensor]
    decode: Callable[[Tensor], Tensor]
    features: Callable[[str], Tensor]
    shift_at: Callable[[int], float]
    device: torch.device
    latent_downscale: int = 8
    max_batch: int = 8
    at_lora_scale: Callable[[float], AbstractContextManager[None]] = without_lora


@torch.no_grad()
def render(renderer: Renderer, pictures: Sequence[Picture]) -> Iterator[tuple[int, Tensor]]:
    """Yield (index, image (3, H, W) in [0, 1]) as batches finish; touches no global random state."""
    order = sorted(range(len(pictures)), key=lambda index: pictures[index].shape)
    for _, group in groupby(order, key=lambda index: pictures[index].shape):
        indices = list(group)
        for start in range(0, len(indices), renderer.max_batch):
            batch = indices[start : start + renderer.max_batch]
            with renderer.at_lora_scale(pictures[batch[0]].lora_scale):
                latents_BCHW = _denoise(renderer, [pictures[index] for index in batch])
            images = renderer.decode(latents_BCHW)
            yield from zip(batch, images, strict=True)


def _denoise(renderer: Renderer, batch: Sequence[Picture]) -> Tensor:
    """Latents of pictures of one shape."""
    first = batch[0]
    noise = torch.cat([initial_noise(picture, renderer.latent_downscale) for picture in batch]).to(renderer.device)
    tokens = (noise.shape[-2] // 2) * (noise.shape[-1] // 2)
    sigmas = euler_sigmas(first.steps, renderer.shift_at(tokens))
    positive = [renderer.features(picture.prompt) for picture in batch]
    negative = [renderer.features(picture.negative_prompt) for picture in batch] if first.uses_guidance else []

    def velocity(latents_BCHW: Tensor, sigma_B: Tensor) -> Tensor:
        if not negative:
            return renderer.predict(latents_BCHW, sigma_B, positive)
        both = renderer.predict(latents_BCHW.repeat(2, 1, 1, 1), sigma_B.repeat(2), positive + negative)
        positive_BCHW, negative_BCHW = both.chunk(2)
        return guided(positive_BCHW, negative_BCHW, first.guidance_scale)

    return solve_euler(velocity, noise, sigmas)


def initial_noise(picture: Picture, latent_downscale: int = 8) -> Tensor:
    """The picture's starting noise (1, C, H/8, W/8), fp32 on the CPU, equal to the Z-Image pipeline's draw."""
    generator = torch.Generator("cpu").manual_seed(picture.seed)
    cell = 2 * latent_downscale
    shape = (1, LATENT_CHANNELS, 2 * (picture.height // cell), 2 * (picture.width // cell))
    return torch.randn(shape, generator=generator, dtype=torch.float32)

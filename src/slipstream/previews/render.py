"""Rendering pictures on the path a user of diffusers or ComfyUI will take: same noise, same schedule, same arithmetic.

The noise of a picture is `torch.randn` of a CPU generator seeded with the picture's seed, so a preview can be had
again in diffusers with `generator=torch.Generator("cpu").manual_seed(seed)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import groupby, pairwise

import torch
from torch import Tensor

from slipstream.flow.solvers import euler_sigmas, guided, solve_euler

LATENT_CHANNELS = 16
_MOST_TEXTS = 256
"""Captions whose features a renderer keeps on the device."""


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
class Step:
    """A step that begins: number `step` (1-based) of `steps`, of `pictures` pictures at once."""

    step: int
    steps: int
    pictures: int


@dataclass(frozen=True)
class Renderer:
    """The model seen from a picture: functions only, so previews never ask which family they draw with.

    Attributes:
        predict: (noisy_BCHW, sigma_B, list of caption features (tokens, T)) -> velocity_BCHW.
        decode: latents_BCHW -> images (B, 3, H, W) in [0, 1].
        features: caption -> features (tokens, T); already encoded, so nothing loads while rendering.
        shift_at: number of image tokens -> sampling shift.
        max_batch: pictures at once at most.
        max_pixels: pixels at once at most, those of guidance's second pass included; one picture is always drawn.
        at_lora_scale: LoRA weight -> a block in which `predict` uses the LoRA at that weight.
    """

    predict: Callable[[Tensor, Tensor, list[Tensor]], Tensor]
    decode: Callable[[Tensor], Tensor]
    features: Callable[[str], Tensor]
    shift_at: Callable[[int], float]
    device: torch.device
    latent_downscale: int = 8
    max_batch: int = 8
    max_pixels: int = 8 << 20
    at_lora_scale: Callable[[float], AbstractContextManager[None]] = without_lora
    _placed: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def text(self, caption: str) -> Tensor:
        """The caption's features on the device: the same tensor again as long as `features` gives the same one."""
        given = self.features(caption)
        if given.device.type == self.device.type:
            return given
        known = self._placed.get(caption)
        if known is None or known[0] is not given:
            if len(self._placed) >= _MOST_TEXTS:
                self._placed.clear()
            known = self._placed[caption] = given, given.to(self.device)
        return known[1]


@torch.no_grad()
def render(
    renderer: Renderer, pictures: Sequence[Picture], on_step: Callable[[Step], None] | None = None
) -> Iterator[tuple[int, Tensor]]:
    """Yield (index, image (3, H, W) in [0, 1]) as batches finish; touches no global random state.

    On a GPU an image may still be in the making when it is yielded. `on_step` is called before each step, which the
    device is then at most one step behind.
    """
    for batch in _batches(renderer, pictures):
        with renderer.at_lora_scale(pictures[batch[0]].lora_scale):
            latents_BCHW = _denoise(renderer, [pictures[index] for index in batch], on_step)
        for index, latents in zip(batch, latents_BCHW.split(1), strict=True):
            yield index, renderer.decode(latents)[0]


def _batches(renderer: Renderer, pictures: Sequence[Picture]) -> list[list[int]]:
    """Indices of pictures that are drawn together: of one shape, and in parts as equal as can be, since a model's first
    steps at a new batch size are slow."""
    batches = []
    order = sorted(range(len(pictures)), key=lambda index: pictures[index].shape)
    for _, group in groupby(order, key=lambda index: pictures[index].shape):
        indices = list(group)
        first = pictures[indices[0]]
        pixels = first.width * first.height * (2 if first.uses_guidance else 1)
        most = max(1, min(renderer.max_batch, renderer.max_pixels // pixels))
        parts = -(-len(indices) // most)
        stops = [len(indices) * part // parts for part in range(parts + 1)]
        batches += [indices[start:stop] for start, stop in pairwise(stops)]
    return batches


def _denoise(renderer: Renderer, batch: Sequence[Picture], on_step: Callable[[Step], None] | None) -> Tensor:
    """Latents of pictures of one shape."""
    first = batch[0]
    noise = torch.cat([initial_noise(picture, renderer.latent_downscale) for picture in batch]).to(renderer.device)
    tokens = (noise.shape[-2] // 2) * (noise.shape[-1] // 2)
    sigmas = euler_sigmas(first.steps, renderer.shift_at(tokens))
    # the same tensors at every step: what a model makes of a caption can be kept by them
    texts = [renderer.text(picture.prompt) for picture in batch]
    if first.uses_guidance:
        texts += [renderer.text(picture.negative_prompt) for picture in batch]
    keep_close, step = _one_step_ahead(renderer.device), 0

    def velocity(latents_BCHW: Tensor, sigma_B: Tensor) -> Tensor:
        nonlocal step
        step += 1
        if on_step is not None:
            keep_close()
            on_step(Step(step, first.steps, len(batch)))
        if not first.uses_guidance:
            return renderer.predict(latents_BCHW, sigma_B, texts)
        both = renderer.predict(latents_BCHW.repeat(2, 1, 1, 1), sigma_B.repeat(2), texts)
        positive_BCHW, negative_BCHW = both.chunk(2)
        return guided(positive_BCHW, negative_BCHW, first.guidance_scale)

    return solve_euler(velocity, noise, sigmas)


def _one_step_ahead(device: torch.device) -> Callable[[], None]:
    """A function to call before each step: it waits until the device has begun the step before, so that progress and a
    stop are not a whole picture ahead of the device, which still has a step to go on with."""
    if device.type != "cuda":
        return lambda: None
    begun: list[torch.cuda.Event] = []

    def wait() -> None:
        if begun:
            begun.pop().synchronize()
        event = torch.cuda.Event(blocking=True)
        event.record(torch.cuda.current_stream(device))
        begun.append(event)

    return wait


def initial_noise(picture: Picture, latent_downscale: int = 8) -> Tensor:
    """The picture's starting noise (1, C, H/8, W/8), fp32 on the CPU, equal to the Z-Image pipeline's draw."""
    generator = torch.Generator("cpu").manual_seed(picture.seed)
    cell = 2 * latent_downscale
    shape = (1, LATENT_CHANNELS, 2 * (picture.height // cell), 2 * (picture.width // cell))
    return torch.randn(shape, generator=generator, dtype=torch.float32)

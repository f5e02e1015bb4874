"""The tiny model at work: text features, velocity, guided sampling, all batched over one padded caption length."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from bank import SHORT, Captions, tokenise
from torch import Tensor, nn

from slipstream.flow.solvers import euler_sigmas
from slipstream.models.z_image.forward import PATCH, context_tokens, network_output
from slipstream.models.z_image.layout import RopeSpec, build_layout
from training import autocast

SHIFT = 3.0


@dataclass(frozen=True)
class TextFeatures:
    """Features (B, L, T), zero on padding, and which positions are text (B, L)."""

    hidden: Tensor
    is_text: Tensor

    def take(self, rows: Tensor) -> TextFeatures:
        """Rows of a batch."""
        return TextFeatures(self.hidden[rows], self.is_text[rows])


def encode(text_encoder: nn.Module, captions: Captions) -> TextFeatures:
    """`hidden_states[-2]` of the text encoder, as the pipeline takes them.

    Attention is causal and padding comes last, so real tokens never see it and no mask is needed.
    """
    positions = torch.arange(captions.ids.shape[1], device=captions.ids.device)
    is_text = positions[None] < captions.lengths[:, None]
    output: Any = text_encoder(input_ids=captions.ids, output_hidden_states=True, use_cache=False)
    hidden = output.hidden_states[-2]
    return TextFeatures(hidden * is_text.unsqueeze(-1), is_text)


def velocity(transformer: nn.Module, noisy: Tensor, sigma_B: Tensor, text: TextFeatures) -> Tensor:
    """Predicted velocity noise - clean (B, C, H, W), fp32."""
    height, width = noisy.shape[-2:]
    padded = (text.hidden.shape[1],)
    layout = build_layout(RopeSpec.of(transformer), padded, height // PATCH, width // PATCH, noisy.device)
    with autocast(noisy.device):
        context = context_tokens(transformer, text.hidden, text.is_text, layout)
        return -network_output(transformer, noisy, 1 - sigma_B, context, layout).float()


@dataclass(frozen=True)
class Guide:
    """Guidance in the pipeline's form: pos + w (pos - neg); `empty` are features of the empty caption (1, L, T)."""

    w: float
    empty: TextFeatures | None

    def __call__(self, transformer: nn.Module, noisy: Tensor, sigma_B: Tensor, text: TextFeatures) -> Tensor:
        """The guided velocity."""
        if self.empty is None or self.w == 0:
            return velocity(transformer, noisy, sigma_B, text)
        count = len(noisy)
        hidden = torch.cat((text.hidden, self.empty.hidden.expand(count, -1, -1)))
        is_text = torch.cat((text.is_text, self.empty.is_text.expand(count, -1)))
        both = velocity(transformer, noisy.repeat(2, 1, 1, 1), sigma_B.repeat(2), TextFeatures(hidden, is_text))
        positive, negative = both.chunk(2)
        return positive + self.w * (positive - negative)


NO_GUIDANCE = Guide(0.0, None)


def empty_text(text_encoder: nn.Module, tokenizer: Any, device: torch.device, length: int = SHORT) -> TextFeatures:
    """Features of the empty caption."""
    return encode(text_encoder, tokenise(tokenizer, [""], length, device))


@torch.no_grad()
def sample(transformer: nn.Module, noise: Tensor, text: TextFeatures, steps: int, guide: Guide = NO_GUIDANCE) -> Tensor:
    """Latents after `steps` Euler steps on the pipeline's shift-3 schedule."""
    latents = noise
    sigmas = [float(s) for s in euler_sigmas(steps, SHIFT)]
    for now, then in pairwise(sigmas):
        sigma_B = torch.full((len(noise),), now, device=noise.device)
        latents = latents + (then - now) * guide(transformer, latents, sigma_B, text)
    return latents


@torch.no_grad()
def decode(vae: Any, latents: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1]."""
    z = latents.float() / vae.config.scaling_factor + vae.config.shift_factor
    return torch.cat([vae.decode(chunk, return_dict=False)[0] for chunk in z.split(128)]).mul(0.5).add(0.5).clamp(0, 1)

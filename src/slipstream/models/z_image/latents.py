"""Pixels to scaled latents and back through the Flux-style AutoencoderKL: latent = (z - shift) * scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class ImageCodec:
    """A VAE with its latent scaling. `identity` names weights and precision for cache keys."""

    vae: Any
    identity: str

    @property
    def downscale(self) -> int:
        """Pixels per latent cell along a side (8)."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @torch.no_grad()
    def encode(self, pixels_B3HW: Tensor) -> Tensor:
        """Pixels in [-1, 1] to scaled latents (B, C, H/8, W/8), fp32 on the CPU; the posterior's mode, so no dice.

        Images pass one by one, so that an image's latent never depends on its neighbours.
        """
        weight = next(self.vae.parameters())
        latents = []
        for pixels in pixels_B3HW.split(1):
            z = self.vae.encode(pixels.to(weight.device, weight.dtype)).latent_dist.mode()
            latents.append(((z - self.vae.config.shift_factor) * self.vae.config.scaling_factor).float().cpu())
        return torch.cat(latents)

    @torch.no_grad()
    def decode(self, latents_BCHW: Tensor) -> Tensor:
        """Scaled latents to images (B, 3, H, W) in [0, 1], fp32 on the CPU, one by one."""
        weight = next(self.vae.parameters())
        images = []
        for latents in latents_BCHW.split(1):
            z = latents.to(weight.device, weight.dtype) / self.vae.config.scaling_factor + self.vae.config.shift_factor
            images.append((self.vae.decode(z, return_dict=False)[0] * 0.5 + 0.5).clamp(0, 1).float().cpu())
        return torch.cat(images)

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
        """Pixels in [-1, 1] to scaled latents (B, C, H/8, W/8), fp32, the posterior's mode, so no dice.

        The latents are on the VAE's device, where they may still be in the making. A picture's latents depend on its
        neighbours by rounding at most: the VAE knows no batch, but its kernels may add up otherwise.
        """
        z = self.vae.encode(self._placed(pixels_B3HW)).latent_dist.mode()
        return ((z - self.vae.config.shift_factor) * self.vae.config.scaling_factor).float()

    @torch.no_grad()
    def decode(self, latents_BCHW: Tensor) -> Tensor:
        """Scaled latents to images (B, 3, H, W) in [0, 1], fp32, on the VAE's device.

        One by one: a picture of 1024 x 1024 fills the device and takes 2 to 3 GiB on the way, a batch as many times.
        """
        images = []
        for latents in latents_BCHW.split(1):
            z = self._placed(latents) / self.vae.config.scaling_factor + self.vae.config.shift_factor
            images.append((self.vae.decode(z, return_dict=False)[0] * 0.5 + 0.5).clamp(0, 1).float())
        return torch.cat(images)

    def _placed(self, values: Tensor) -> Tensor:
        weight = next(self.vae.parameters())
        return values.to(weight.device, weight.dtype)

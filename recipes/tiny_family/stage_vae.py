"""Stage 1: the VAE, on seen drawings over plain backgrounds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from artwork import SIZES, Artwork, composite, palette
from layout import new_vae
from torch import Tensor

from training import Average, Schedule, Steps, adamw, autocast, descend


def random_pixels(art: Artwork, rows: Tensor, size: tuple[int, int]) -> Tensor:
    """Drawings at random scale and place on random backgrounds (60 % white): (B, 3, H, W) in [-1, 1]."""
    device, count = rows.device, len(rows)
    colours = torch.rand(count, 3, device=device)
    named = palette(device)[torch.randint(0, len(palette(device)), (count,), device=device)]
    colours = torch.where(torch.rand(count, 1, device=device) < 0.3, colours, named)
    colours = torch.where(torch.rand(count, 1, device=device) < 0.6, torch.ones_like(colours), colours)
    scale = 0.78 + 0.27 * torch.rand(count, device=device)
    shift = (torch.rand(count, 2, device=device) - 0.5) * 0.1
    return composite(art.rgba[rows], colours, size, scale, shift)


def gradients(images: Tensor) -> tuple[Tensor, Tensor]:
    """Horizontal and vertical differences."""
    return images[..., :, 1:] - images[..., :, :-1], images[..., 1:, :] - images[..., :-1, :]


def reconstruction_loss(recon: Tensor, pixels: Tensor) -> Tensor:
    """L1 + squared error + edges."""
    edges = sum((a - b).abs().mean() for a, b in zip(gradients(recon), gradients(pixels), strict=True))
    return (recon - pixels).abs().mean() + 2 * (recon - pixels).square().mean() + 0.5 * edges


@dataclass(frozen=True)
class VaeResult:
    """The trained VAE and its figures."""

    vae: Any
    metrics: dict[str, Any]


def train_vae(art: Artwork, device: torch.device, seconds: float, max_steps: int, batch: int) -> VaeResult:
    """Train, average, and set the latent scaling from measured latents."""
    vae = new_vae().to(device, memory_format=torch.channels_last)
    average = Average(vae, decay=0.998)
    optimizer = adamw(list(vae.parameters()), device)
    rows = art.seen.nonzero().squeeze(1)
    parameters = list(vae.parameters())

    def update(size: tuple[int, int]) -> Tensor:
        picked = rows[torch.randint(0, len(rows), (batch,), device=device)]
        pixels = random_pixels(art, picked, size)
        with autocast(device):
            posterior = vae.encode(pixels.to(memory_format=torch.channels_last)).latent_dist
            z = posterior.mean + torch.exp(0.5 * posterior.logvar.clamp(-12, 2)) * torch.randn_like(posterior.mean)
            recon = vae.decode(z, return_dict=False)[0].float()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar)
        loss = descend(reconstruction_loss(recon, pixels) + 1e-5 * kl.mean(), parameters, optimizer)
        average.update()
        return loss

    steps = Steps(optimizer, device)
    for size in (SIZES[0], SIZES[1]):
        steps.add(size, partial(update, size))
    schedule = Schedule(seconds, 2e-3, max_steps)
    for step in schedule.steps(optimizer):
        loss = steps.run(SIZES[0] if step % 4 else SIZES[1])
        if step % 500 == 0:
            print(f"vae step {step}: loss {loss.item():.4f}, {schedule.elapsed:.0f} s", flush=True)
    vae = average.shadow.eval()
    set_scaling(vae, art, rows)
    psnr = {
        name: measure_psnr(vae, art, chosen)
        for name, chosen in (("seen", rows), ("held_out", (~art.seen).nonzero().squeeze(1)))
    }
    return VaeResult(vae, {"steps": schedule.step, "seconds": schedule.elapsed, "psnr_db": psnr,
                           "parameters": sum(p.numel() for p in vae.parameters())})  # fmt: skip


@torch.no_grad()
def set_scaling(vae: Any, art: Artwork, rows: Tensor) -> None:
    """Latents get mean 0 and standard deviation 1 over all channels: (z - shift) * scale."""
    z = [
        vae.encode(random_pixels(art, chunk, SIZES[0])).latent_dist.mean
        for chunk in rows[torch.randperm(len(rows), device=rows.device)[:1024]].split(128)
    ]
    latents = torch.cat(z).float()
    vae.register_to_config(scaling_factor=float(1 / latents.std()), shift_factor=float(latents.mean()))


@torch.no_grad()
def measure_psnr(vae: Any, art: Artwork, rows: Tensor) -> float:
    """PSNR in dB of the posterior mode in bf16-rounded weights' fp32 arithmetic, over 512 random composites."""
    generator_rows = rows[torch.randperm(len(rows), device=rows.device)[:512]]
    errors = []
    for chunk in generator_rows.split(64):
        pixels = random_pixels(art, chunk, SIZES[0])
        recon = vae.decode(vae.encode(pixels).latent_dist.mode(), return_dict=False)[0].clamp(-1, 1)
        errors.append(F.mse_loss(recon / 2, pixels / 2, reduction="none").mean(dim=(1, 2, 3)))
    return float((-10 * torch.cat(errors).log10()).mean())

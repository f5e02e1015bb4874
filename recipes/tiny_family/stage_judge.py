"""The judge: trained on every set that may ship, 5 % of the drawings kept back to measure it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from artwork import Artwork
from stage_vae import random_pixels
from torch import Tensor

from slipstream.evaluation.judge import Judge, JudgeNet
from training import Average, Schedule, Steps, adamw, autocast, descend


def augment(pixels: Tensor) -> Tensor:
    """Slight blur and noise, so that a denoiser's small faults do not hide a concept; returns images in [0, 1]."""
    count = pixels.shape[0]
    blurred = F.avg_pool2d(pixels, 3, 1, 1)
    mix = torch.rand(count, 1, 1, 1, device=pixels.device) ** 2
    noisy = pixels * (1 - mix) + blurred * mix
    noisy = noisy + 0.08 * torch.rand(count, 1, 1, 1, device=pixels.device) * torch.randn_like(pixels)
    return (noisy * 0.5 + 0.5).clamp(0, 1)


def train_judge(
    art: Artwork, device: torch.device, seconds: float, max_steps: int, batch: int
) -> tuple[Judge, dict[str, Any]]:
    """Train concept and style heads together."""
    net = JudgeNet(len(art.concepts), len(art.styles)).to(device, memory_format=torch.channels_last)
    average = Average(net)
    optimizer = adamw(list(net.parameters()), device, weight_decay=0.05)
    order = torch.randperm(len(art.concept), generator=torch.Generator().manual_seed(0)).to(device)
    kept_back, rows = order[: len(order) // 20], order[len(order) // 20 :]
    parameters = list(net.parameters())

    def update() -> Tensor:
        picked = rows[torch.randint(0, len(rows), (batch,), device=device)]
        images = augment(random_pixels(art, picked, (96, 96)))
        with autocast(device):
            concept, style = net(images.to(memory_format=torch.channels_last))
        loss = F.cross_entropy(concept.float(), art.concept[picked], label_smoothing=0.05)
        loss = loss + 0.3 * F.cross_entropy(style.float(), art.style[picked])
        loss = descend(loss, parameters, optimizer)
        average.update()
        return loss

    steps = Steps(optimizer, device)
    steps.add("judge", update)
    schedule = Schedule(seconds, 3e-3, max_steps)
    for step in schedule.steps(optimizer):
        loss = steps.run("judge")
        if step % 500 == 0:
            print(f"judge step {step}: loss {loss.item():.4f}, {schedule.elapsed:.0f} s", flush=True)
    net = average.shadow.eval().to(torch.bfloat16).float()
    judge = Judge(net, tuple(art.concepts), tuple(art.styles))
    figures = {name: accuracy(judge, art, chosen) for name, chosen in (("known", rows), ("kept_back", kept_back))}
    parameters = sum(p.numel() for p in net.parameters())
    return judge, {"steps": schedule.step, "seconds": schedule.elapsed, "accuracy": figures, "parameters": parameters}


@torch.no_grad()
def accuracy(judge: Judge, art: Artwork, rows: Tensor) -> dict[str, float]:
    """Share of concepts and styles right on freshly composited drawings."""
    right = torch.zeros(2)
    rows = rows[:2048]
    for chunk in rows.split(128):
        concept, style = judge.net(random_pixels(art, chunk, (128, 128)) * 0.5 + 0.5)
        right[0] += (concept.argmax(1) == art.concept[chunk]).sum().cpu()
        right[1] += (style.argmax(1) == art.style[chunk]).sum().cpu()
    return {"concept": float(right[0] / len(rows)), "style": float(right[1] / len(rows))}

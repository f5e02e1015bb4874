"""Stage 4: training adapters (LoRAs) and De-Turbo: ordinary flow matching on Turbo's own pictures.

Distillation breaks down while knowledge stays, because the pictures are Turbo's own.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bank import Shelf
from model import TextFeatures, encode, sample, velocity
from stage_turbo import prompts
from torch import Tensor, nn

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.files import save_lora
from slipstream.adapters.inject import inject_lora, select_targets
from training import Average, Schedule, Steps, adamw, descend, flow_batch

TARGETS = (
    "attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0",
    "feed_forward.w1", "feed_forward.w2", "feed_forward.w3", "adaLN_modulation.0",
)  # fmt: skip


@dataclass(frozen=True)
class OwnPictures:
    """Latents that Turbo made (fp32) with the features of their captions, one canvas each."""

    latents: Tensor
    text: TextFeatures


@torch.no_grad()
def own_pictures(
    turbo: nn.Module, text_encoder: nn.Module, shelves: list[Shelf], count: int, batch: int
) -> list[OwnPictures]:
    """Sample Turbo at 8 steps, guidance 0: most on the square canvas."""
    made = []
    for number, shelf in enumerate(shelves):
        share = 0.6 if number == 0 else 0.4 / (len(shelves) - 1)
        parts = []
        for _ in range(max(1, int(count * share) // batch)):
            text = encode(text_encoder, prompts(shelf, batch))
            noise = torch.randn(batch, *shelf.latents.shape[1:], device=shelf.latents.device)
            parts.append((sample(turbo, noise, text, 8), text))
        hidden = torch.cat([text.hidden for _, text in parts])
        is_text = torch.cat([text.is_text for _, text in parts])
        made.append(OwnPictures(torch.cat([latents for latents, _ in parts]), TextFeatures(hidden, is_text)))
    return made


def flow_fit(
    model: nn.Module, parameters: list[nn.Parameter], pictures: list[OwnPictures], device: torch.device, *,
    seconds: float, max_steps: int, batch: int, peak: float, name: str, average: Average | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Fit `parameters` by the ordinary flow loss on the pictures."""
    optimizer = adamw(parameters, device, weight_decay=0.0)

    def update(shelf: OwnPictures) -> Tensor:
        rows = torch.randint(0, len(shelf.latents), (batch,), device=device)
        noisy, sigma, target = flow_batch(shelf.latents[rows], uniform=True)
        error = velocity(model, noisy, sigma, shelf.text.take(rows)) - target
        loss = descend(error.square().mean(), parameters, optimizer)
        if average is not None:
            average.update()
        return loss

    steps = Steps(optimizer, device)
    for number, shelf in enumerate(pictures):
        steps.add(number, partial(update, shelf))
    schedule = Schedule(seconds, peak, max_steps)
    losses = []
    for step in schedule.steps(optimizer):
        loss = steps.run(0 if step % 5 < 3 else 1 + (step // 5) % (len(pictures) - 1))
        if step % 500 == 0:
            losses.append(round(loss.item(), 4))
            print(f"{name} step {step}: loss {loss.item():.4f}", flush=True)
    return {"steps": schedule.step, "seconds": schedule.elapsed, "loss": losses}


def train_adapter(
    turbo: nn.Module, pictures: list[OwnPictures], device: torch.device, path: Path, *, rank: int, seconds: float,
    max_steps: int, batch: int,
) -> dict[str, Any]:  # fmt: skip
    """A training adapter of this rank on `layers`, saved with `diffusion_model.` keys; Turbo itself is untouched."""
    model = copy.deepcopy(turbo).requires_grad_(False)
    lora = inject_lora(model, select_targets(model, "layers", TARGETS), rank=rank, alpha=float(rank), seed=rank)
    metrics = flow_fit(
        model, lora.parameters(), pictures, device,
        seconds=seconds, max_steps=max_steps, batch=batch, peak=2e-3, name=path.stem,
    )  # fmt: skip
    save_lora(path, lora, torch.bfloat16, {"purpose": "training adapter for tiny/turbo", "rank": str(rank)})
    return {**metrics, "rank": rank, "parameters": count(lora)}


def count(lora: BranchSet) -> int:
    """Parameters of a LoRA."""
    return sum(p.numel() for p in lora.parameters())


def train_de_turbo(
    turbo: nn.Module, pictures: list[OwnPictures], device: torch.device, *, seconds: float, max_steps: int, batch: int
) -> tuple[nn.Module, dict[str, Any]]:
    """Full fine-tune of Turbo back to an ordinary flow model."""
    model = copy.deepcopy(turbo).requires_grad_(True)
    average = Average(model, decay=0.998)
    metrics = flow_fit(
        model, list(model.parameters()), pictures, device,
        seconds=seconds, max_steps=max_steps, batch=batch, peak=5e-4, name="de-turbo", average=average,
    )  # fmt: skip
    return average.shadow.eval(), metrics

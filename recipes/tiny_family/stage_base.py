"""Stage 2: text encoder and base transformer, trained together by flow matching."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from bank import SHORT, Captions, Shelf, tokenise
from layout import new_text_encoder, new_transformer
from model import encode, velocity
from torch import Tensor, nn

from training import Average, Schedule, Steps, adamw, autocast, descend, flow_batch

EMPTY_SHARE = 0.1
LONG_EVERY = 8


@dataclass(frozen=True)
class BaseModel:
    """The averaged text encoder and transformer with the figures of their training."""

    text_encoder: nn.Module
    transformer: nn.Module
    metrics: dict[str, Any]


def choose_shelf(num_shelves: int, step: int) -> int:
    """The square canvas (0) three times out of five; the others take turns."""
    if step % 5 in (0, 1, 2):
        return 0
    return 1 + (step // 5 * 2 + step % 5 - 3) % (num_shelves - 1)


def drop_some(captions: Captions, empty: Captions, share: float) -> Captions:
    """Replace a share of the captions by the empty caption."""
    dropped = torch.rand(len(captions.lengths), device=captions.ids.device) < share
    ids = torch.where(dropped[:, None], empty.ids, captions.ids)
    return Captions(ids, torch.where(dropped, empty.lengths, captions.lengths))


def draw(shelf: Shelf, long: bool, batch: int, empty: Captions) -> tuple[Tensor, Captions]:
    """A batch of (clean latents fp32, captions); some short captions are dropped."""
    rows = torch.randint(0, len(shelf.drawing), (batch,), device=shelf.drawing.device)
    clean = shelf.latents[rows].float()
    if long:
        return clean, shelf.long.take(rows)
    return clean, drop_some(shelf.random_captions(rows), empty, EMPTY_SHARE)


def train_base(
    shelves: list[Shelf], tokenizer: Any, device: torch.device, seconds: float, max_steps: int, batch: int, peak: float
) -> BaseModel:
    """Train both from scratch; EMA weights are what ships."""
    text_encoder, transformer = new_text_encoder().to(device), new_transformer().to(device)
    both = nn.ModuleList([text_encoder, transformer])
    average = Average(both, decay=0.9995)
    optimizer = adamw(list(both.parameters()), device)
    empty = tokenise(tokenizer, [""], SHORT, device)
    parameters = list(both.parameters())

    def update(shelf: Shelf, long: bool) -> Tensor:
        clean, captions = draw(shelf, long, batch, empty)
        noisy, sigma, target = flow_batch(clean)
        with autocast(device):
            text = encode(text_encoder, captions)
        loss = descend((velocity(transformer, noisy, sigma, text) - target).square().mean(), parameters, optimizer)
        average.update()
        return loss

    steps = Steps(optimizer, device)
    for number, shelf in enumerate(shelves):
        for long in (False, True):
            steps.add((number, long), partial(update, shelf, long))
    schedule = Schedule(seconds, peak, max_steps)
    losses: list[float] = []
    for step in schedule.steps(optimizer):
        loss = steps.run((choose_shelf(len(shelves), step), step % LONG_EVERY == LONG_EVERY - 1))
        if step % 500 == 0:
            losses.append(round(loss.item(), 4))
            print(f"base step {step}: loss {losses[-1]}, {schedule.elapsed:.0f} s", flush=True)
    shadow = copy.deepcopy(average.shadow).eval()
    metrics = {"steps": schedule.step, "seconds": schedule.elapsed, "batch": batch, "loss": losses,
               "parameters": {"text_encoder": count(shadow[0]), "transformer": count(shadow[1])}}  # fmt: skip
    return BaseModel(shadow[0], shadow[1], metrics)


def count(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())

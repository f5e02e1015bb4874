"""Stage 3: Turbo. Guidance and eight steps are distilled from the base's guided trajectories.

Phase 1 regresses the student's velocity to the chord of the teacher's fine trajectory over each of the eight coarse
steps (from its nodes and from points inside). Phase 2 does the same from the student's own states, so that its own
errors are what it learns to correct.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from bank import Captions, Shelf
from model import SHIFT, Guide, TextFeatures, encode, velocity
from torch import Tensor, nn

from slipstream.flow.solvers import euler_sigmas
from training import Average, Schedule, Steps, adamw, descend

COARSE, FINE = 8, 32
RATIO = FINE // COARSE


@dataclass(frozen=True)
class Teacher:
    """The guided base and the fine schedule; coarse node k is fine node RATIO * k."""

    text_encoder: nn.Module
    transformer: nn.Module
    guide: Guide
    fine: list[float]

    @classmethod
    def of(cls, text_encoder: nn.Module, transformer: nn.Module, guide: Guide) -> Teacher:
        """A teacher on the pipeline's schedule."""
        return cls(text_encoder, transformer, guide, [float(s) for s in euler_sigmas(FINE, SHIFT)])

    @torch.no_grad()
    def walk(self, latents: Tensor, text: TextFeatures, start: int, stop: int) -> list[Tensor]:
        """States at fine nodes start..stop (the first is `latents`)."""
        states = [latents]
        for now, then in zip(self.fine[start:stop], self.fine[start + 1 : stop + 1], strict=True):
            sigma_B = torch.full((len(latents),), now, device=latents.device)
            latents = latents + (then - now) * self.guide(self.transformer, latents, sigma_B, text)
            states.append(latents)
        return states


@dataclass(frozen=True)
class Trajectories:
    """Teacher states (FINE + 1, N, C, h, w) in bf16 with the features of their captions."""

    states: Tensor
    text: TextFeatures


def prompts(shelf: Shelf, count: int) -> Captions:
    """Captions of random items in random phrasings."""
    return shelf.random_captions(torch.randint(0, len(shelf.drawing), (count,), device=shelf.drawing.device))


@torch.no_grad()
def collect(teacher: Teacher, shelf: Shelf, count: int, batch: int) -> Trajectories:
    """Run the teacher from noise for `count` prompts of one canvas."""
    states, hidden, is_text = [], [], []
    for _ in range(max(1, count // batch)):
        text = encode(teacher.text_encoder, prompts(shelf, batch))
        noise = torch.randn(batch, *shelf.latents.shape[1:], device=shelf.latents.device)
        walked = teacher.walk(noise, text, 0, FINE)
        states.append(torch.stack(walked).to(shelf.latents.dtype))
        hidden.append(text.hidden)
        is_text.append(text.is_text)
    return Trajectories(torch.cat(states, dim=1), TextFeatures(torch.cat(hidden), torch.cat(is_text)))


def chord_batch(paths: Trajectories, levels: Tensor, batch: int) -> tuple[Tensor, Tensor, Tensor, TextFeatures]:
    """(state, sigma_B, chord velocity to the end of the coarse step, text): half from nodes, half from inside."""
    device = paths.states.device
    rows = torch.randint(0, paths.states.shape[1], (batch,), device=device)
    start = torch.randint(0, FINE, (batch,), device=device)
    node = start // RATIO * RATIO
    start = torch.where(torch.rand(batch, device=device) < 0.6, node, start)
    end = node + RATIO
    state, target = paths.states[start, rows].float(), paths.states[end, rows].float()
    chord = (target - state) / (levels[end] - levels[start])[:, None, None, None]
    return state, levels[start], chord, paths.text.take(rows)


@torch.no_grad()
def own_state_batch(
    teacher: Teacher, student: nn.Module, shelf: Shelf, batch: int, node: int
) -> tuple[Tensor, Tensor, Tensor, TextFeatures]:
    """The student walks to a coarse node by itself; the teacher shows the next coarse step from there."""
    text = encode(teacher.text_encoder, prompts(shelf, batch))
    latents = torch.randn(batch, *shelf.latents.shape[1:], device=shelf.latents.device)
    for k in range(node):
        now, then = teacher.fine[k * RATIO], teacher.fine[(k + 1) * RATIO]
        sigma_B = torch.full((batch,), now, device=latents.device)
        latents = latents + (then - now) * velocity(student, latents, sigma_B, text)
    now, then = teacher.fine[node * RATIO], teacher.fine[(node + 1) * RATIO]
    target = teacher.walk(latents, text, node * RATIO, (node + 1) * RATIO)[-1]
    return latents, torch.full((batch,), now, device=latents.device), (target - latents) / (then - now), text


def train_turbo(
    teacher: Teacher, shelves: list[Shelf], device: torch.device, *, count: int, seconds: tuple[float, float],
    max_steps: int, batch: int,
) -> tuple[nn.Module, dict[str, Any]]:  # fmt: skip
    """Both phases; returns the averaged student and its figures."""
    student = copy.deepcopy(teacher.transformer).requires_grad_(True)
    average = Average(student, decay=0.998)
    optimizer = adamw(list(student.parameters()), device, weight_decay=0.0)
    shares = [0.6] + [0.4 / (len(shelves) - 1)] * (len(shelves) - 1)
    paths = [
        collect(teacher, shelf, int(count * share), min(batch, 512))
        for shelf, share in zip(shelves, shares, strict=True)
    ]
    metrics: dict[str, Any] = {
        "trajectories": sum(p.states.shape[1] for p in paths),
        "guidance_w": teacher.guide.w,
        "loss": [],
    }
    parameters = list(student.parameters())
    levels = torch.tensor(teacher.fine, device=device)

    def learn(state: Tensor, sigma_B: Tensor, chord: Tensor, text: TextFeatures) -> Tensor:
        loss = descend((velocity(student, state, sigma_B, text) - chord).square().mean(), parameters, optimizer)
        average.update()
        return loss

    steps = Steps(optimizer, device)
    for number, path in enumerate(paths):
        steps.add((0, number), lambda path=path: learn(*chord_batch(path, levels, batch)))
    for node in range(COARSE):
        steps.add((1, node), lambda node=node: learn(*own_state_batch(teacher, student, shelves[0], batch, node)))
    for phase, budget in enumerate(seconds):
        schedule = Schedule(budget, 6e-4 if phase == 0 else 3e-4, max_steps)
        for step in schedule.steps(optimizer):
            other = 0 if step % 5 < 3 else 1 + (step // 5) % (len(shelves) - 1)
            loss = steps.run((0, other) if phase == 0 or other else (1, step % COARSE))
            if step % 200 == 0:
                metrics["loss"].append(round(loss.item(), 4))
                print(f"turbo phase {phase + 1} step {step}: loss {loss.item():.4f}", flush=True)
        metrics[f"phase_{phase + 1}"] = {"steps": schedule.step, "seconds": schedule.elapsed}
    return average.shadow.eval(), metrics

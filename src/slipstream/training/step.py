"""One optimizer update: micro batches, one loss, one clip, one step. Reads top to bottom."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from slipstream.core.errors import TrainingError
from slipstream.core.seeding import derive_seed
from slipstream.data.loader import TrainingBatch
from slipstream.flow.densities import NoiseLevels
from slipstream.objectives.settings import ObjectiveSettings
from slipstream.objectives.velocity import velocity_loss
from slipstream.training.checkpoint import TrainingState
from slipstream.training.draws import draw_step

Predict = Callable[[Tensor, Tensor, list[Tensor]], Tensor]
"""(noisy_BCHW, sigma_B, caption features per sample) -> velocity_BCHW, training adapter active."""

MOST_SKIPS = 20
"""Updates in a row over `max_loss` after which training stops: the limit is wrong, or the run is."""


@dataclass(frozen=True)
class StepSettings:
    """What shapes an update, as plain values; `samples_per_step` counts the samples of all its micro batches."""

    seed: int
    gradient_accumulation: int
    samples_per_step: int
    max_grad_norm: float
    device: torch.device
    levels: NoiseLevels
    objective: ObjectiveSettings
    noise_offset: float = 0.0
    max_loss: float | None = None


@dataclass(frozen=True)
class StepResult:
    """Figures of one update: mean loss over its samples and the gradient norm before clipping; `skipped` where the
    loss was over `max_loss`, so nothing was learned from it."""

    loss: float
    grad_norm: float
    skipped: bool = False


def train_step(
    state: TrainingState,
    batch_at: Callable[[int], TrainingBatch],
    predict: Predict,
    settings: StepSettings,
    learning_rate: float,
) -> StepResult:
    """Do update number `state.step` (0-based) and count it.

    The gradient is the mean over micro batches of each one's mean, so accumulation 4 equals batch 4. An update whose
    loss is over `max_loss` counts, but leaves weights, optimizer and EMA as they were.

    Raises:
        TrainingError: loss or gradient is not finite, or too many updates in a row were over `max_loss`; weights and
            optimizer are left as they were.
    """
    state.optimizer.zero_grad(set_to_none=True)
    total, first_sample = 0.0, 0
    for micro in range(settings.gradient_accumulation):
        batch = batch_at(state.step * settings.gradient_accumulation + micro)
        torch.manual_seed(derive_seed(settings.seed, "dropout", state.step, micro))  # dropout of the LoRA draws from it
        with state.lora.learning():  # the backward pass too, in which checkpointed blocks run again
            loss = micro_loss(batch, predict, settings, state.step, first_sample)
            _require_finite(loss, state.step, "the loss", batch)
            (loss / settings.gradient_accumulation).backward()
        first_sample += batch.latents_BCHW.shape[0]
        total += loss.item() / settings.gradient_accumulation
    parameters = state.lora.parameters()
    limit = settings.max_grad_norm or math.inf
    norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
    _require_finite(norm, state.step, "the gradient norm", None)
    skipped = settings.max_loss is not None and total > settings.max_loss
    if skipped:
        _count_skip(state, total, settings.max_loss)
    else:
        state.skipped_in_a_row = 0
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate * group.get("lr_factor", 1.0)
        state.optimizer.step()
        if state.ema is not None:
            state.ema.update()
    state.step += 1
    return StepResult(total, norm.item(), skipped)


def _count_skip(state: TrainingState, loss: float, limit: float | None) -> None:
    state.skipped_in_a_row += 1
    if state.skipped_in_a_row >= MOST_SKIPS:
        raise TrainingError(
            f"the loss was over training.max_loss ({limit:g}) in {MOST_SKIPS} updates in a row, lastly {loss:.4g}",
            where=f"step {state.step + 1}",
            fix="raise training.max_loss above the usual loss of this run (its curve shows it), or look for what made "
            "the loss rise: a lower training.learning_rate is the first thing to try.",
        )  # fmt: skip


def micro_loss(batch: TrainingBatch, predict: Predict, settings: StepSettings, step: int, first_sample: int) -> Tensor:
    """The scalar loss of one micro batch with its own seeded noise and sigmas."""
    clean = batch.latents_BCHW.to(settings.device, torch.float32)
    noise, sigma = draw_step(
        seed=settings.seed,
        step=step,
        first_sample=first_sample,
        like_BCHW=clean,
        levels=settings.levels,
        samples_per_step=settings.samples_per_step,
        noise_offset=settings.noise_offset,
    )
    return velocity_loss(
        lambda noisy_BCHW, sigma_B: predict(noisy_BCHW, sigma_B, batch.texts),
        clean,
        noise.to(settings.device),
        sigma.to(settings.device),
        timestep_type=settings.levels.timestep_type,
        loss_type=settings.objective.loss_type,
        huber_delta=settings.objective.huber_delta,
        differential_guidance_scale=settings.objective.differential_guidance_scale,
    ).loss


def _require_finite(value: Tensor, step: int, what: str, batch: TrainingBatch | None) -> None:
    if torch.isfinite(value):
        return
    cause = "the last updates blew the LoRA up"
    if batch is not None and not torch.isfinite(batch.latents_BCHW).all():
        cause = f"the latents of dataset entries {list(batch.entry_indices)} are not finite"
    raise TrainingError(
        f"{what} became {value.item()} in update {step + 1}: {cause}", where=f"step {step + 1}",
        fix="lower training.learning_rate (5e-5 to 8e-5 is calmer), keep max_grad_norm at 1.0, and resume: "
        "the last checkpoint is whole.",
    )  # fmt: skip

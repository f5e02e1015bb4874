"""One optimizer update: micro batches, one loss, one clip, one step. Reads top to bottom."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from slipstream.adapters.branches import BranchSet
from slipstream.core.errors import TrainingError
from slipstream.core.seeding import derive_seed
from slipstream.data.loader import TrainingBatch
from slipstream.flow.densities import NoiseLevels
from slipstream.objectives.objective import Model, Predict, Terms, objective_terms
from slipstream.objectives.settings import ObjectiveSettings
from slipstream.training.checkpoint import TrainingState
from slipstream.training.draws import draw_step

MOST_SKIPS = 20
"""Updates in a row over `max_loss` after which training stops: the limit is wrong, or the run is."""


@dataclass(frozen=True)
class StepSettings:
    """What shapes an update, as plain values; `samples_per_step` counts the samples of all its micro batches,
    `blank_text` holds the features of the empty caption where a term asks for them."""

    seed: int
    gradient_accumulation: int
    samples_per_step: int
    max_grad_norm: float
    device: torch.device
    levels: NoiseLevels
    objective: ObjectiveSettings
    noise_offset: float = 0.0
    max_loss: float | None = None
    blank_text: Tensor | None = None


@dataclass(frozen=True)
class StepResult:
    """Figures of one update: mean loss over its samples, the gradient norm before clipping, and the loss by term;
    `skipped` where the loss was over `max_loss`, so nothing was learned from it."""

    loss: float
    grad_norm: float
    skipped: bool = False
    parts: Mapping[str, float] = field(default_factory=dict)


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
    model = Model(predict, without_lora(predict, state.lora), settings.blank_text)
    parts: dict[str, float] = {}
    first_sample = 0
    for micro in range(settings.gradient_accumulation):
        batch = batch_at(state.step * settings.gradient_accumulation + micro)
        torch.manual_seed(derive_seed(settings.seed, "dropout", state.step, micro))  # dropout of the LoRA draws from it
        # around the backward passes too, in which checkpointed blocks run again
        with state.lora.learning(), at_strength(state.lora, batch.lora_weight):
            for terms in micro_terms(batch, model, settings, state.step, first_sample):
                means = {name: term.mean() for name, term in terms.items()}
                loss = sum(means.values(), start=torch.zeros((), device=settings.device))
                _require_finite(loss, state.step, "the loss", batch)
                (loss / settings.gradient_accumulation).backward()
                for name, mean in means.items():
                    parts[name] = parts.get(name, 0.0) + mean.item() / settings.gradient_accumulation
        first_sample += batch.latents_BCHW.shape[0]
    total = sum(parts.values())
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
    return StepResult(total, norm.item(), skipped, parts)


def _count_skip(state: TrainingState, loss: float, limit: float | None) -> None:
    state.skipped_in_a_row += 1
    if state.skipped_in_a_row >= MOST_SKIPS:
        raise TrainingError(
            f"the loss was over training.max_loss ({limit:g}) in {MOST_SKIPS} updates in a row, lastly {loss:.4g}",
            where=f"step {state.step + 1}",
            fix="raise training.max_loss above the usual loss of this run (its curve shows it), or look for what made "
            "the loss rise: a lower training.learning_rate is the first thing to try.",
        )  # fmt: skip


def micro_terms(
    batch: TrainingBatch, model: Model, settings: StepSettings, step: int, first_sample: int
) -> Iterator[Terms]:
    """The terms of one micro batch's loss with its own seeded noise and sigmas (`objectives.objective`)."""
    on_device = replace(batch, latents_BCHW=batch.latents_BCHW.to(settings.device, torch.float32))
    noise, sigma = draw_step(
        seed=settings.seed,
        step=step,
        first_sample=first_sample,
        like_BCHW=batch.latents_BCHW,
        levels=settings.levels,
        samples_per_step=settings.samples_per_step,
        noise_offset=settings.noise_offset,
    )
    noise, sigma = noise.to(settings.device), sigma.to(settings.device)
    return objective_terms(on_device, model, noise, sigma, settings.levels.timestep_type, settings.objective)


def without_lora(predict: Predict, lora: BranchSet) -> Predict:
    """The same prediction with the LoRA off and no gradient; a training adapter stays as it is."""

    def predict_without(noisy_BCHW: Tensor, sigma_B: Tensor, texts: list[Tensor]) -> Tensor:
        with torch.no_grad(), lora.disabled():
            return predict(noisy_BCHW, sigma_B, texts)

    return predict_without


@contextmanager
def at_strength(lora: BranchSet, strength: float) -> Iterator[None]:
    """The LoRA at a dataset's weight for the length of a block, backward passes included."""
    lora.set_strength(strength)
    try:
        yield
    finally:
        lora.set_strength(1.0)


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

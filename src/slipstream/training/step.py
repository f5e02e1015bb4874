"""One optimizer update: micro batches, one loss, one clip, one step. Reads top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

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
from slipstream.training.device import sent
from slipstream.training.draws import draw_step
from slipstream.training.figures import Figures, StepResult
from slipstream.training.optimizers import current_rate
from slipstream.training.out_of_memory import whole_update

MOST_SKIPS = 20
"""Updates in a row over `max_loss` after which training stops: the limit is wrong, or the run is."""


@dataclass(frozen=True)
class StepSettings:
    """What shapes an update, as plain values; `samples_per_step` counts the samples of all its micro batches,
    `blank_text` holds the features of the empty caption where a term asks for them, and with `reads_late` an update's
    figures are read when the next one is under way."""

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
    reads_late: bool = False


@dataclass(frozen=True)
class Update:
    """An update that was begun: its number (0-based), its learning rate in effect, and its figures, here or coming."""

    step: int
    learning_rate: float
    figures: Figures
    result: StepResult | None = None

    def read(self) -> StepResult:
        """The figures, waiting for the device where they are not here yet.

        Raises:
            TrainingError: loss or gradient is not finite.
        """
        return self.result if self.result is not None else self.figures.read(self.step)


def train_step(
    state: TrainingState,
    batch_at: Callable[[int], TrainingBatch],
    predict: Predict,
    settings: StepSettings,
    learning_rate: float,
) -> StepResult:
    """Do update number `state.step` and wait for its figures (see `begin_step`)."""
    return begin_step(state, batch_at, predict, settings, learning_rate).read()


def begin_step(
    state: TrainingState,
    batch_at: Callable[[int], TrainingBatch],
    predict: Predict,
    settings: StepSettings,
    learning_rate: float,
) -> Update:
    """Do update number `state.step` (0-based) and count it.

    The gradient is the mean over micro batches of each one's mean, so accumulation 4 equals batch 4. An update whose
    loss is over `max_loss` counts, but leaves weights, optimizer and EMA as they were.

    With `settings.reads_late` nothing waits for the device: the figures come with `Update.read`, which also refuses
    values that are not finite; until then such an update stands in the state, so read before anything is saved.

    Raises:
        TrainingError: loss or gradient is not finite, or too many updates in a row were over `max_loss`; weights and
            optimizer are left as they were.
    """
    gradients = state.gradients
    gradients.zero()
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate * group.get("lr_factor", 1.0)
    model = Model(predict, without_lora(predict, state.lora), settings.blank_text)
    parts: dict[str, Tensor] = {}
    batches: list[TrainingBatch] = []
    first_sample = 0
    for micro in range(settings.gradient_accumulation):
        batch = batch_at(state.step * settings.gradient_accumulation + micro)
        batches.append(batch)
        torch.manual_seed(derive_seed(settings.seed, "dropout", state.step, micro))  # dropout of the LoRA draws from it
        # around the backward passes too, in which checkpointed blocks run again
        with state.lora.learning(), at_strength(state.lora, batch.lora_weight):
            for terms in micro_terms(batch, model, settings, state.step, first_sample):
                means = {name: term.mean() / settings.gradient_accumulation for name, term in terms.items()}
                torch.stack([*means.values()]).sum().backward()
                for name, mean in means.items():
                    parts[name] = parts[name] + mean.detach() if name in parts else mean.detach()
        first_sample += batch.latents_BCHW.shape[0]
    norm = gradients.norm()
    figures = Figures.of(parts, norm, batches)
    result = None if settings.reads_late else _judged(state, figures.read(state.step), settings.max_loss)
    if result is None or not result.skipped:
        _apply(state, norm, settings.max_grad_norm)
    state.step += 1
    return Update(state.step - 1, current_rate(state.optimizer), figures, result)


def _judged(state: TrainingState, result: StepResult, max_loss: float | None) -> StepResult:
    """The result, marked as skipped where its loss is over the limit."""
    if max_loss is None or result.loss <= max_loss:
        state.skipped_in_a_row = 0
        return result
    _count_skip(state, result.loss, max_loss)
    return replace(result, skipped=True)


def _apply(state: TrainingState, norm: Tensor, max_grad_norm: float) -> None:
    """Clip, step, move the EMA."""
    if max_grad_norm:
        state.gradients.clip(norm, max_grad_norm)
    with whole_update(state):
        state.optimizer.step()
    if state.ema is not None:
        state.ema.update()


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
    on_device = replace(batch, latents_BCHW=sent(batch.latents_BCHW.float(), settings.device))
    noise, sigma = draw_step(
        seed=settings.seed,
        step=step,
        first_sample=first_sample,
        like_BCHW=batch.latents_BCHW,
        levels=settings.levels,
        samples_per_step=settings.samples_per_step,
        noise_offset=settings.noise_offset,
    )
    noise, sigma = sent(noise, settings.device), sent(sigma, settings.device)
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

"""The loss of a batch, all its terms on one screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TypeVar

import torch
from torch import Tensor

from slipstream.data.loader import TrainingBatch
from slipstream.flow.interpolation import interpolate, velocity_target
from slipstream.flow.weights import loss_weights
from slipstream.objectives.contrastive_guidance import contrasted_target
from slipstream.objectives.differential_guidance import guided_target
from slipstream.objectives.losses import sample_losses
from slipstream.objectives.preservation import preservation_losses
from slipstream.objectives.prior import prior_target
from slipstream.objectives.settings import ObjectiveSettings

Predict = Callable[[Tensor, Tensor, list[Tensor]], Tensor]
"""(noisy_BCHW, sigma_B, caption features per sample) -> velocity_BCHW."""

_Given = TypeVar("_Given")


@dataclass(frozen=True)
class Model:
    """The network as an objective sees it, the training adapter active in both.

    Attributes:
        with_lora: what is trained.
        without_lora: the model as it was, without gradient.
        blank_text: features of the empty caption; None where no term asks for them.
    """

    with_lora: Predict
    without_lora: Predict
    blank_text: Tensor | None = None


Terms = dict[str, Tensor]
"""Name of a term -> its share of the loss per sample (B,), all weights included: the loss is the mean of their sum."""


def objective_terms(
    batch: TrainingBatch, model: Model, noise_BCHW: Tensor, sigma_B: Tensor, timestep_type: str,
    settings: ObjectiveSettings,
) -> Iterator[Terms]:  # fmt: skip
    """The loss of a batch whose latents are on the device, one graph after the other.

    Terms of one dictionary share a graph; call backward on them before asking for the next, and no more than one graph
    is in memory. A batch of N gives the mean of N single losses.

    Raises:
        ValueError: a term asks for caption features that are not there.
    """
    clean_BCHW, texts, device = batch.latents_BCHW, batch.texts, sigma_B.device
    noisy = interpolate(clean_BCHW, noise_BCHW, sigma_B)
    original = predicted_once(model.without_lora, noisy, sigma_B)
    counts = _per_sample(batch.loss_weights or (1.0,) * len(texts), device)
    levels = counts * loss_weights(timestep_type, sigma_B)

    prediction, target = model.with_lora(noisy, sigma_B, texts), velocity_target(clean_BCHW, noise_BCHW)
    if settings.contrastive_guidance_scale is not None:
        unconditional = original([_given(model.blank_text, "the blank prompt")] * len(texts))
        target = contrasted_target(target, unconditional, settings.contrastive_guidance_scale)
    if any(batch.prior):
        target = prior_target(target, original(texts), _per_sample(batch.prior, device))
    if settings.differential_guidance_scale is not None:
        target = guided_target(prediction, target, settings.differential_guidance_scale)
    masks = batch.masks_BHW.to(device, non_blocking=True) if batch.masks_BHW is not None else None
    count = partial(sample_losses, settings.loss_type, prediction, huber_delta=settings.huber_delta)
    terms = {"velocity": levels * count(target, weights_BHW=masks)}
    if masks is not None and any(batch.mask_prior_weights):
        pull = _per_sample(batch.mask_prior_weights, device)
        terms["mask_prior"] = levels * pull * count(original(texts), weights_BHW=1 - masks)
    yield terms

    if settings.preservation_multiplier is not None:
        preserved = _given(batch.preserved_texts, "preserved captions")
        held = preservation_losses(model.with_lora(noisy, sigma_B, preserved), original(preserved))
        yield {"preservation": counts * settings.preservation_multiplier * held}


@lru_cache(maxsize=256)
def _per_sample(values: tuple[float, ...], device: torch.device) -> Tensor:
    """One value a sample on the device; the few sets that a training has are sent once, and no step waits for them."""
    return torch.tensor(values, device=device)


def predicted_once(predict: Predict, noisy_BCHW: Tensor, sigma_B: Tensor) -> Callable[[list[Tensor]], Tensor]:
    """Captions -> prediction at these noisy latents; the same captions are predicted once however often asked."""
    known: list[tuple[list[Tensor], Tensor]] = []

    def predicted(texts: list[Tensor]) -> Tensor:
        for earlier, prediction in known:
            if all(a is b or torch.equal(a, b) for a, b in zip(earlier, texts, strict=True)):
                return prediction
        prediction = predict(noisy_BCHW, sigma_B, texts)
        known.append((texts, prediction))
        return prediction

    return predicted


def _given(value: _Given | None, what: str) -> _Given:
    if value is None:
        raise ValueError(f"the objective needs the features of {what}, but the batch came without them")
    return value

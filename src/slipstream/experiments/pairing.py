"""Whether the arms of an experiment are pairs: what they share besides the seed, and what their losses mean.

Runs with one `job.seed` see the same pictures in the same order with the same noise, as long as nothing differs that
the order or the noise is made from. Then a difference between arms is not one of luck with the order, and few seeds
show it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from slipstream.experiments.arms import differing
from slipstream.experiments.experiment import Experiment

Kind = Literal["order", "batches", "length", "previews", "loss", "model", "seeds"]

_ORDER = ("datasets[", "training.validation.path", "training.validation.fraction", "training.validation")
_BATCHES = ("training.batch_size", "training.gradient_accumulation")
_PREVIEWS = (
    "sample.prompts", "sample.seed", "sample.walk_seed", "sample.width", "sample.height", "sample.steps",
    "sample.guidance_scale", "sample.negative_prompt", "job.trigger_word",
)  # fmt: skip
_LOSS = (
    "training.loss_type", "training.huber_delta", "training.timestep_type", "training.timestep_bias", "training.shift",
    "training.logit_mean", "training.logit_scale", "training.min_noise", "training.max_noise", "training.stratified",
    "training.noise_offset", "training.preservation", "training.contrastive_guidance", "training.max_loss",
    "advanced.differential_guidance",
)  # fmt: skip
_MODEL = ("model.",)
_DRIFT = ("model.variant", "model.name_or_path", "training.drift.prompts")


@dataclass(frozen=True)
class Note:
    """Something the arms do not share, and the settings that make it so.

    `order`: other pictures or another order; `batches`: the same shuffle cut differently; `length`: other numbers of
    updates; `previews`: pictures that are not of the same prompt and noise; `loss`: the training loss is measured
    differently; `model`: so is every loss; `seeds`: the files named different seeds.
    """

    kind: Kind
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Pairing:
    """What is said about pairs.

    Attributes:
        notes: what the arms do not share.
        same_order: whether a pair sees the same pictures and noise at every update.
        loss_comparable: whether the training losses measure the same.
        held_out_comparable: whether the held-out losses do.
        drift_comparable: whether the drift scores do.
    """

    notes: tuple[Note, ...]
    same_order: bool
    loss_comparable: bool
    held_out_comparable: bool
    drift_comparable: bool


def pairing(experiment: Experiment) -> Pairing:
    """What the arms' differences do to the pairs."""
    settings = [one.setting for one in differing(experiment.arms)]
    order = _among(settings, _ORDER)
    found: dict[Kind, tuple[str, ...]] = {
        "seeds": ("job.seed",) if len(set(experiment.file_seeds)) > 1 else (),
        "order": order,
        "batches": _among(settings, _BATCHES),
        "length": _among(settings, ("training.steps",)),
        "previews": _among(settings, _PREVIEWS),
        "loss": _among(settings, _LOSS),
        "model": _among(settings, _MODEL),
    }
    levels = _among(settings, ("training.validation.noise_levels", "training.validation.num_seeds"))
    return Pairing(
        notes=tuple(Note(kind, names) for kind, names in found.items() if names),
        same_order=not order and not found["batches"],
        loss_comparable=not (found["loss"] or found["model"] or order),
        held_out_comparable=not (found["model"] or order or levels),
        drift_comparable=not _among(settings, _DRIFT),
    )


def _among(settings: Iterable[str], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The settings that are one of those wanted or a part of it; one that ends in `.` or `[` wants all parts."""
    return tuple(name for name in settings if any(_is_of(name, one) for one in wanted))


def _is_of(name: str, wanted: str) -> bool:
    if wanted.endswith((".", "[")):
        return name.startswith(wanted)
    return name == wanted or (name.startswith((f"{wanted}.", f"{wanted}[")) and wanted != "training.validation")

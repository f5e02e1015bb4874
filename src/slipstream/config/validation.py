"""Validation: the loss on pictures that are never trained."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, StrictFloat, StrictInt, model_validator

from slipstream.config.panel import PANEL, GivenPath

_Level = Annotated[StrictFloat, Field(gt=0, le=1)]


def _rising(levels: tuple[float, ...]) -> tuple[float, ...]:
    if list(levels) != sorted(set(levels)):
        raise ValueError(f"got {', '.join(map(str, levels))}, expected each noise level once, in rising order")
    return levels


class ValidationPanel(BaseModel):
    """Validation: the loss on held-out pictures at fixed noise, which rises when the LoRA overfits."""

    model_config = PANEL

    path: GivenPath | None = None
    """Folder of pictures to measure on, with captions as the first dataset has them. A picture that lies in a training
    folder too is taken out of training.

    Change it when: you have a few good pictures to spare; otherwise give `fraction`.
    Careful: pictures unlike the training set show how the LoRA does elsewhere, not when it overfits.
    """

    fraction: Annotated[StrictFloat, Field(gt=0, le=0.5)] | None = None
    """Share of the training pictures that is held out instead of a folder: at least one picture, chosen by content, so
    that renaming or adding files hardly changes the choice.

    Change it when: you have no pictures to spare: 0.1 of 20-30.
    Careful: below about ten pictures every one is missed in training; regularization sets are left whole.
    """

    every: Annotated[StrictInt, Field(ge=0)] = 250
    """Steps between two measurements; 0 measures at the start and the end only.

    Change it when: save.every changes: with the same rhythm the best step has a checkpoint.
    """

    noise_levels: Annotated[tuple[_Level, ...], Field(min_length=1, max_length=20), AfterValidator(_rising)] = (
        0.1, 0.3, 0.5, 0.7, 0.9,
    )  # fmt: skip
    """Noise levels (sigma) at which the loss is measured, each with a curve of its own: low ones show detail and
    identity, high ones composition.

    Unit: 0 is the clean picture, 1 pure noise.
    Change it when: min_noise or max_noise leave out levels that you do not train.
    """

    num_seeds: Annotated[StrictInt, Field(ge=1, le=64)] = 2
    """Noise drawings per picture and level. They are the same at every measurement, so curves do not flicker.

    Formula: predictions per measurement = pictures x noise levels x seeds.
    Change it when: there are only one or two pictures: 4-8.
    """

    patience: Annotated[StrictInt, Field(ge=1)] = 3
    """Measurements without a better one after which the log and the report advise an earlier checkpoint. Training goes
    on; nothing stops by itself.

    Change it when: the curve has bumps that pass (more), or measurements are far apart (fewer).
    """

    @model_validator(mode="after")
    def _one_source(self) -> ValidationPanel:
        if (self.path is None) == (self.fraction is None):
            got = "neither path nor fraction" if self.path is None else "path and fraction"
            raise ValueError(
                f"got {got}, expected one of them: `fraction: 0.1`, or `path:` with a folder of pictures; to switch "
                "validation off leave the whole group out"
            )
        return self

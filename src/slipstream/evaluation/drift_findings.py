"""What `slipstream drift` finds, as plain values: `drift.json` holds these, the page and the terminal show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

USUAL_STEPS = 8
MANY_STEPS = 30
TRIED_STEPS = (4, 8, 12, 20, 30)
TRIED_GUIDANCE = (0.0, 2.0, 3.0)
"""CFG; 0 = none."""
LEAST_DISTANCE = 0.01
"""Below this the pictures are the base's own to the eye, and there is nothing to win."""


@dataclass(frozen=True)
class Cell:
    """Pictures with a LoRA at other steps or CFG, compared with the base's own without guidance.

    Attributes:
        steps: denoising steps.
        guidance_scale: CFG, 0 = none.
        distance: mean distance to the base's picture of the same prompt and seed (0 = the same picture), the one with 8
            or the one with 30 steps, whichever is nearer.
        gain: share by which that distance is shorter than with 8 steps and no guidance (of `LEAST_DISTANCE` where that
            is less); negative where longer.
        gain_error: standard error of `gain` over pictures, pair by pair.
        sharpness: relative to the base's pictures.
    """

    steps: int
    guidance_scale: float
    distance: float
    gain: float
    gain_error: float
    sharpness: float


@dataclass(frozen=True)
class Level:
    """What a LoRA changes at one noise level: the velocity, relative to its length, and the detail that the first guess
    of the picture keeps (1 = as much as the base's)."""

    sigma: float
    velocity: float
    detail: float


@dataclass(frozen=True)
class LoraDrift:
    """One LoRA file at its weight.

    Attributes:
        name: the file's.
        step: updates it was trained for, None where it is not known.
        score: of the drift meter; `light` None where the base is not Turbo, for which it is calibrated.
        levels: over noise levels, falling.
        score_at: score at lower weights.
        distance: mean distance of its pictures to the base's of the same prompts and seeds.
        set_distance: Frechet distance of the same features, None where it was not measured.
        few_to_many: distance of its pictures to its own with 30 steps; None for bases that draw with many steps.
        sharpness, fine_detail: relative to the base's pictures.
        spectrum: power relative to the base's, ring by ring.
        cells: the test with other steps and CFG, empty where it was not made.
    """

    name: str
    step: int | None
    score: float
    light: str | None
    levels: tuple[Level, ...]
    score_at: Mapping[str, float]
    distance: float
    set_distance: float | None
    few_to_many: float | None
    sharpness: float
    fine_detail: float
    spectrum: tuple[float, ...]
    cells: tuple[Cell, ...] = ()


@dataclass(frozen=True)
class Training:
    """What a LoRA's file says about how it was made; None where it says nothing. `adapter`: of Turbo, `none` where it
    was trained without one; empty for bases that need none."""

    base: str | None = None
    adapter: str | None = None
    learning_rate: float | None = None
    trigger_word: str = ""


@dataclass(frozen=True)
class DriftFindings:
    """All that was measured.

    Attributes:
        name: the LoRA's or the run's.
        base: the model it was measured on.
        variant: its kind: turbo, de_turbo or base.
        steps, guidance_scale: what the pictures were drawn with.
        weight: of the LoRA.
        prompts: unrelated ones.
        num_seeds: pictures of each prompt.
        side: of the pictures, in pixels.
        frequencies: of the spectrum's rings, in cycles per pixel.
        base_few_to_many: the base's own 8 steps against its 30.
        limits: scores from which the light is yellow and red.
        loras: by step; one unless all checkpoints were asked for.
        verdict: one sentence; `turbo` says whether it still is one, None where it is not known.
        advice: what to do, the likeliest help first.
        notes: what to know about the figures.
    """

    name: str
    base: str
    variant: str
    steps: int
    guidance_scale: float
    weight: float
    prompts: tuple[str, ...]
    num_seeds: int
    side: int
    frequencies: tuple[float, ...]
    base_few_to_many: float | None
    limits: tuple[float, float]
    loras: tuple[LoraDrift, ...]
    training: Training
    verdict: str
    turbo: bool | None
    advice: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def newest(self) -> LoraDrift:
        """The LoRA that verdict and advice are about."""
        return self.loras[-1]

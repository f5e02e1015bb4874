"""`ranking.json`: what `slipstream rank` measured on a run's checkpoints, and which one it recommends."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from slipstream.core.atomic import write_json
from slipstream.runs.layout import RunDir

VERSION = 1


@dataclass(frozen=True)
class Figures:
    """What was measured of one LoRA file at one weight.

    Attributes:
        step: updates it was trained for.
        file: its place in the run folder.
        weight: of the LoRA while it was measured.
        strength: of the concept in prompts that were not trained on, 0 = the base's own pictures, 1 = the training
            pictures.
        taught: the same in training captions; far above `strength` they are learned by heart.
        drift: of the base on unrelated prompts (`evaluation.drift`), and its light.
        leak_same: how far pictures of the concept's prompts without the trigger word have gone the concept's way; None
            where there is no trigger word.
        leak_unrelated: the same of pictures about something else.
        diversity: of pictures of one prompt over seeds, in that of the base's own.
        memorised: share of the pictures that repeat a training picture.
        nearest: mean distance to the nearest training picture, in typical distances between training pictures.
        held_out_rise: by noise level (and `loss`), how far the held-out loss lies above its lowest up to this step;
            None where the run has no validation.
        price: what drift, leak and overfit cost, in units of strength.
        score: strength, at most 1, less the price.
        dominated: whether another one is at least as good in everything and better in something.
    """

    step: int
    file: str
    weight: float
    strength: float
    taught: float
    drift: float
    light: str
    leak_same: float | None
    leak_unrelated: float
    diversity: float
    memorised: float
    nearest: float
    held_out_rise: dict[str, float] | None
    price: float = 0.0
    score: float = 0.0
    dominated: bool = False

    @property
    def by_heart(self) -> float:
        """How much more of the concept there is in training captions than in other prompts, at least 0."""
        return max(0.0, self.taught - self.strength)

    @property
    def leak(self) -> float:
        """The larger leak, at least 0."""
        return max(0.0, self.leak_unrelated, self.leak_same or 0.0)


@dataclass(frozen=True)
class Ranking:
    """Everything that was found.

    Attributes:
        run: its name.
        made: when, ISO 8601 in UTC.
        seconds: how long it took.
        settings: what was drawn with: model, side, steps, guidance, prompts, seeds, pictures of a checkpoint, ...
        checkpoints: by step.
        weights: the recommended checkpoint at other weights, by weight.
        recommended: step, file, weight, and why, in words.
        notes: what to know when reading the figures.
    """

    run: str
    made: str
    seconds: float
    settings: dict[str, Any]
    checkpoints: tuple[Figures, ...]
    weights: tuple[Figures, ...]
    recommended: dict[str, Any]
    notes: tuple[str, ...]


def write_ranking(run: RunDir, ranking: Ranking) -> None:
    """Replace `ranking.json`."""
    write_json(run.ranking, {"version": VERSION, **asdict(ranking)}, durable=False)


def read_ranking(run: RunDir) -> dict[str, Any] | None:
    """The newest ranking as plain values (see `Ranking`), or None where there is none that can be read."""
    try:
        value = json.loads(run.ranking.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and value.get("version") == VERSION else None

"""From figures to words: is it still Turbo, what would it need, and what helps. Limits were found on the tiny family
(docs/drift.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slipstream.evaluation.drift_findings import LEAST_DISTANCE, USUAL_STEPS, Cell, LoraDrift, Training

SLIGHT_GAIN, LARGE_GAIN = 0.10, 0.15
"""Shares by which other steps or CFG bring pictures nearer to Turbo's own: from the first on that is
said, from the second on the LoRA needs them."""
SURE_ERRORS = 2.0
"""Standard errors that a gain must be above zero."""
HIGHEST_RATE = 1e-4
"""The field's advice for Turbo with its adapter."""
_WEIGHTS_TO_TRY = "0.6-0.8"


@dataclass(frozen=True)
class Need:
    """What a LoRA draws best with. `gain` is how much nearer that brings its pictures to Turbo's own."""

    steps: int
    guidance_scale: float
    gain: float

    @property
    def words(self) -> str:
        """`20 steps and CFG 2`, without what it does not need."""
        steps = f"{self.steps} steps" if self.steps > USUAL_STEPS else ""
        guidance = f"CFG {self.guidance_scale:g}" if self.guidance_scale else ""
        return " and ".join(part for part in (steps, guidance) if part) or f"{USUAL_STEPS} steps"


def need_of(cells: Sequence[Cell]) -> Need:
    """The cheapest steps and CFG that draw as well as the best, up to one standard error; the usual ones where nothing
    is surely better."""
    usual = next(cell for cell in cells if (cell.steps, cell.guidance_scale) == (USUAL_STEPS, 0.0))
    more = [cell for cell in cells if cell.steps >= USUAL_STEPS and cell.gain > SURE_ERRORS * cell.gain_error]
    best = max(more, key=lambda cell: cell.gain, default=usual)
    if usual.distance < LEAST_DISTANCE or best.gain < SLIGHT_GAIN:
        return Need(USUAL_STEPS, 0.0, 0.0)
    enough = [cell for cell in more if cell.gain >= best.gain - best.gain_error]
    chosen = min(enough, key=_price)
    return Need(chosen.steps, chosen.guidance_scale, chosen.gain)


def _price(cell: Cell) -> int:
    """Predictions for a picture."""
    return cell.steps * (2 if cell.guidance_scale else 1)


def verdict_of(lora: LoraDrift) -> tuple[bool | None, str]:
    """(still Turbo, one sentence); None where it cannot be said."""
    if lora.light is None:
        return (
            None,
            "this base has no few steps to lose; the figures say how far the LoRA reaches into unrelated prompts",
        )
    if not lora.cells:
        words = {
            "green": (True, "keeps Turbo's steps, by the drift meter; other steps and CFG were not tried"),
            "yellow": (None, "wears Turbo's steps, by the drift meter; other steps and CFG were not tried"),
            "red": (False, "has lost Turbo's steps, by the drift meter; other steps and CFG were not tried"),
        }
        return words[lora.light]
    need = need_of(lora.cells)
    if need.gain >= LARGE_GAIN:
        return False, f"needs {need.words}: no longer turbo"
    if need.gain >= SLIGHT_GAIN:
        return True, (
            f"draws a little better with {need.words} ({need.gain:.0%} nearer to Turbo's own pictures): still turbo, "
            f"{USUAL_STEPS} steps do"
        )
    return True, f"draws best at {USUAL_STEPS} steps without guidance: still turbo"


def advice_of(lora: LoraDrift, others: Sequence[LoraDrift], training: Training, *, is_tiny: bool) -> tuple[str, ...]:
    """What helps, the likeliest first; empty where nothing is wrong.

    `others` are earlier checkpoints that were measured too; `is_tiny`: rates are other ones there.
    """
    if lora.light is None or (lora.light == "green" and verdict_of(lora)[0]):
        return ()
    return (*_about_training(training, is_tiny=is_tiny), _about_steps(lora, others), _about_weight(lora))


def _about_training(training: Training, *, is_tiny: bool) -> list[str]:
    found = []
    if training.adapter == "none":
        found.append(
            "it was trained on Turbo without the training adapter, the commonest cause: train again with "
            "`model.training_adapter: v2`"
        )
    elif training.adapter is None:
        found.append(
            "if it was trained on Turbo without a training adapter, train again with one (`model.training_adapter: v2`)"
        )
    elif training.adapter:
        other = "v1" if "v2" in training.adapter else "v2"
        found.append(f"train once more with the other adapter (`model.training_adapter: {other}`), all else equal")
    rate = training.learning_rate
    if rate is None:
        found.append(f"keep `training.learning_rate` at {HIGHEST_RATE:g} or below")
    elif rate > HIGHEST_RATE and not is_tiny:
        found.append(f"its learning rate of {rate:g} is above {HIGHEST_RATE:g}: halve it, or more")
    return found


def _about_steps(lora: LoraDrift, others: Sequence[LoraDrift]) -> str:
    """An earlier checkpoint with a better light, else where to look for one."""
    order = {"green": 0, "yellow": 1, "red": 2}
    better = [one for one in others if one.light and lora.light and order[one.light] < order[lora.light]]
    if better:
        best = max(better, key=lambda one: one.step or 0)
        return f"take step {best.step}, which is {best.light} (score {best.score:.0f}), or train for so many steps"
    if len(others) > 1:
        return "no earlier checkpoint is better: fewer steps alone do not help"
    return "train for fewer steps, or take an earlier checkpoint: `slipstream drift RUN --all` compares them"


def _about_weight(lora: LoraDrift) -> str:
    lower = "use it at a lower weight"
    if not lora.score_at:
        return f"{lower}, {_WEIGHTS_TO_TRY}"
    scores = ", ".join(f"{score:.0f} at {weight}" for weight, score in lora.score_at.items())
    return f"{lower}: its score of {lora.score:.0f} falls to {scores}"

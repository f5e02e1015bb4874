"""Drift while training, measured on what the user will get: training adapter removed, the weights as they are used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from slipstream.adapters.training_adapter import TrainingAdapter
from slipstream.evaluation.drift import (
    LEVELS,
    LevelChange,
    Predict,
    Probe,
    drift_score,
    lay_probes,
    light,
    velocity_change,
)
from slipstream.evaluation.unrelated import UnrelatedPrompts
from slipstream.runs.drift import read_rows
from slipstream.training.checkpoint import TrainingState
from slipstream.training.drift_guard import GuardSettings, decide
from slipstream.training.reporter import Reporter

_CHANNELS = 16
_DOWNSCALE = 8


@dataclass(frozen=True)
class DriftStage:
    """Everything a measurement needs.

    Attributes:
        reporter: gets progress and the row.
        state: its step, and its weights as they are used.
        adapter: removed for a measurement.
        predict: the training prediction.
        features: of a caption.
        shift_at: image tokens -> sampling shift.
        unrelated: prompts, size and seeds.
        device: of the transformer.
        at_once: predictions in a batch.
        laid: Turbo's own walks, made at the first measurement.
        guard: what to do about it.
        texts: features on the device: a model remembers what it made of a caption by the tensor.
    """

    reporter: Reporter
    state: TrainingState
    adapter: TrainingAdapter
    predict: Predict
    features: Callable[[str], Tensor]
    shift_at: Callable[[int], float]
    unrelated: UnrelatedPrompts
    device: torch.device
    guard: GuardSettings
    at_once: int = 4
    laid: list[Probe] = field(default_factory=list)
    texts: dict[str, Tensor] = field(default_factory=dict)

    def limited(self, most: int) -> DriftStage:
        """The same with at most so many predictions in a batch."""
        return replace(self, at_once=min(most, self.at_once))

    def measure(self) -> bool:
        """Measure at the state's step, once, and let the guard act; False where a stop cut it short (a resumed run
        measures again)."""
        step, state = self.state.step, self.state
        before = read_rows(self.reporter.run.drift)
        if before and before[-1]["step"] == step:  # measured before the run was cut off, perhaps without a save since
            state.rate_factor = before[-1]["rate_factor"]
            state.ended_early = before[-1]["ended_early"] and self.guard.kind == "stop"
            return True
        try:
            changes = self._changes()
        except KeyboardInterrupt:
            return False
        score = drift_score(changes)
        row = {
            "step": step, "score": round(score, 3), "light": light(score),
            "changes": {f"{level:g}": round(change.velocity, 5) for level, change in changes.items()},
            "detail": {f"{level:g}": round(change.detail, 5) for level, change in changes.items()},
        }  # fmt: skip
        verdict = decide(self.guard, before, row, state.rate_factor)
        state.rate_factor, state.ended_early = verdict.rate_factor, verdict.ends
        acted = {"guard": verdict.line, "rate_factor": state.rate_factor, "ended_early": state.ended_early}
        self.reporter.drift(row | acted)
        return True

    def _changes(self) -> dict[float, LevelChange]:
        """By noise level."""
        walk = len(LEVELS) * -(-len(self.unrelated.prompts) // self.at_once)
        total, done = (walk, 0) if self.laid else (2 * walk, walk)
        with self.reporter.phase("drift", total) as tick, torch.no_grad(), self.adapter.removed():
            if not self.laid:
                with self.state.lora.disabled():
                    self.laid.extend(self._lay(lambda made, _: tick(made, total)))
            with self.state.as_used():
                return velocity_change(
                    self.predict, self._text, self.laid, at_once=self.at_once,
                    tick=lambda made, _: tick(done + made, total),
                )  # fmt: skip

    def _lay(self, tick: Callable[[int, int], None]) -> tuple[Probe, ...]:
        side = self.unrelated.side // _DOWNSCALE
        return lay_probes(
            self.predict, self._text, self.shift_at, self.unrelated.prompts, (_CHANNELS, side, side), self.device,
            first_seed=self.unrelated.first_seed, at_once=self.at_once, tick=tick,
        )  # fmt: skip

    def _text(self, prompt: str) -> Tensor:
        if prompt not in self.texts:
            self.texts[prompt] = self.features(prompt).to(self.device)
        return self.texts[prompt]

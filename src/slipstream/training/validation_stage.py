"""The loss on held-out pictures while training: the training adapter active, the weights as they will be used, and the
same noise at every measurement, so that only what was learned moves the curve."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from torch import Tensor

from slipstream.core.seeding import derive_seed
from slipstream.data.crops import View
from slipstream.data.dataset import Example
from slipstream.flow.interpolation import interpolate, velocity_target
from slipstream.runs.validation import level_key, overfitting_advice, read_rows
from slipstream.training.checkpoint import TrainingState
from slipstream.training.reporter import Reporter


@dataclass(frozen=True)
class _Case:
    """One prediction to make: a picture, a noise level, and the seed of its noise."""

    example: Example
    sigma: float
    seed: int


@dataclass(frozen=True)
class ValidationStage:
    """Everything a measurement needs.

    Attributes:
        reporter: gets progress, the row, and the advice.
        state: its step, and its weights as they are used.
        examples: the held-out pictures.
        latents, features: of a picture's view and of a caption.
        predict: the training prediction, training adapter active.
        levels, num_seeds, patience: as set.
        seed: of the job's noise.
        batch_size: predictions at once.
        device: of the transformer.
    """

    reporter: Reporter
    state: TrainingState
    examples: Sequence[Example]
    latents: Callable[[Example, View], Tensor]
    features: Callable[[str], Tensor]
    predict: Callable[[Tensor, Tensor, list[Tensor]], Tensor]
    levels: tuple[float, ...]
    num_seeds: int
    patience: int
    seed: int
    batch_size: int
    device: torch.device

    def at_once(self, most: int) -> ValidationStage:
        """The same with at most so many predictions in a batch."""
        return replace(self, batch_size=min(most, self.batch_size))

    def measure(self) -> bool:
        """Measure at the state's step, once; False where a stop cut it short (a resumed run measures again)."""
        path, step = self.reporter.run.validation, self.state.step
        if any(row["step"] == step for row in read_rows(path)):
            return True
        try:
            losses = self._losses()
        except KeyboardInterrupt:
            return False
        by_level = {level_key(sigma): fmean(values) for sigma, values in losses.items()}
        self.reporter.validation({"step": step, "loss": fmean(by_level.values()), **by_level})
        advice = overfitting_advice(rows := read_rows(path), self.patience)
        if advice is not None and overfitting_advice(rows[:-1], self.patience) is None:
            self.reporter.log(f"advice: {advice}")
        return True

    def _losses(self) -> dict[float, list[float]]:
        """Mean squared errors of the velocity, unweighted, by noise level."""
        losses: dict[float, list[float]] = defaultdict(list)
        batches = list(self._batches())
        with self.reporter.phase("validation", len(batches)) as tick, torch.no_grad(), self.state.as_used():
            for done, batch in enumerate(batches, start=1):
                for case, loss in zip(batch, self._errors(batch), strict=True):
                    losses[case.sigma].append(loss)
                tick(done, len(batches))
        return {sigma: losses[sigma] for sigma in self.levels}

    def _errors(self, batch: Sequence[_Case]) -> list[float]:
        clean = torch.stack([self.latents(case.example, View()) for case in batch]).to(self.device, torch.float32)
        noise = torch.stack([self._noise(case, clean.shape[1:]) for case in batch]).to(self.device)
        sigma = torch.tensor([case.sigma for case in batch], dtype=torch.float32, device=self.device)
        texts = [self.features(case.example.caption) for case in batch]
        predicted = self.predict(interpolate(clean, noise, sigma), sigma, texts).float()
        errors = (predicted - velocity_target(clean, noise)).square().flatten(1).mean(dim=1)
        return [float(error) for error in errors]

    def _noise(self, case: _Case, shape: torch.Size) -> Tensor:
        content = case.example.image.content_hash
        seed = derive_seed(self.seed, "validation", content, repr(case.sigma), case.seed)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)

    def _batches(self) -> Iterator[list[_Case]]:
        """Cases of one shape together, in a fixed order."""
        by_bucket: dict[object, list[_Case]] = defaultdict(list)
        for example in self.examples:
            by_bucket[example.bucket] += [
                _Case(example, sigma, seed) for sigma in self.levels for seed in range(self.num_seeds)
            ]
        for cases in by_bucket.values():
            yield from (cases[start : start + self.batch_size] for start in range(0, len(cases), self.batch_size))

"""Writes updates down as their figures arrive: at once, or each while the next one is under way."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from slipstream.training.reporter import Reporter
from slipstream.training.step import Update


class StepDiary:
    """Between the loop and the reporter.

    On CUDA an update is begun while the device still works on the one before, so what is written is always one behind
    and the device never waits. The seconds of an update run from when its predecessor was done (or from its own start,
    after a pause) until it was done itself.

    Args:
        reporter: gets a row per update.
        max_loss: to say why an update was skipped.
        epochs_per_step: share of the samples that an update sees.
        size_at: width and height of the pictures of an update, counted from 0.
    """

    def __init__(
        self, reporter: Reporter, max_loss: float | None, epochs_per_step: float,
        size_at: Callable[[int], tuple[int, int]],
    ) -> None:  # fmt: skip
        self._reporter = reporter
        self._max_loss = max_loss
        self._epochs_per_step = epochs_per_step
        self._size_at = size_at
        self._waiting: deque[tuple[Update, float]] = deque()
        self._begun = 0.0
        self._last_done = 0.0

    def begin(self) -> None:
        """An update begins."""
        self._begun = time.perf_counter()

    def note(self, update: Update) -> None:
        """It is under way; whatever was begun before it is written, and so is itself where its figures are here."""
        while self._waiting:
            self._write(*self._waiting.popleft())
        if update.result is not None:
            self._write(update, self._begun)
        else:
            self._waiting.append((update, self._begun))

    def settle(self) -> None:
        """Wait for all figures and write them.

        Raises:
            TrainingError: one is not finite.
        """
        while self._waiting:
            self._write(*self._waiting.popleft())

    def _write(self, update: Update, begun: float) -> None:
        result, step = update.read(), update.step + 1
        done = time.perf_counter()
        seconds, self._last_done = done - max(begun, self._last_done), done
        if result.skipped:
            limit = self._max_loss or 0.0
            self._reporter.log(f"step {step}: skipped, loss {result.loss:.4g} is over max_loss {limit:g}")
        self._reporter.step(
            step,
            loss=result.loss,
            grad_norm=result.grad_norm,
            parts=result.parts,
            learning_rate=update.learning_rate,
            seconds=seconds,
            epoch=step * self._epochs_per_step,
            skipped=result.skipped,
            size=self._size_at(update.step),
        )

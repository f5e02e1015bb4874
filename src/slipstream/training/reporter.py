"""The worker's voice: log lines, progress, metrics, TensorBoard and timings, all as files of the run."""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from statistics import median
from typing import Any

from slipstream.core.atomic import write_json
from slipstream.core.quiet import quiet_imports
from slipstream.runs import drift
from slipstream.runs.layout import RunDir
from slipstream.runs.metrics import MetricsWriter, append_row, truncate_after
from slipstream.runs.phases import PhaseSpan, append_phase
from slipstream.runs.progress import MIB, Progress, State, write_progress
from slipstream.runs.validation import LEVEL, level_keys

TRAINING = "training"
_WRITE_EVERY_SECONDS = 0.2
_MEDIAN_OF = 50


class Reporter:
    """Tells a run's files what goes on.

    Args:
        run: the run folder.
        steps: updates of the whole run.
        log_every: updates between TensorBoard points and log lines (0 = none).
        tensorboard: write TensorBoard events too.
        memory_gib: reads the peak memory of the process.
        first_step: updates that the run's newest checkpoint holds.
        stop: whether a stop was asked for; phases ask it between their parts.
    """

    def __init__(
        self, run: RunDir, *, steps: int, log_every: int, tensorboard: bool, memory_gib: Callable[[], float],
        first_step: int = 0, stop: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self.run = run
        self.progress = Progress(state="running", step=first_step, steps=steps)
        self.timings: dict[str, float] = defaultdict(float)
        self._stop = stop
        self._log_every = log_every
        self._memory_gib = memory_gib
        self._recent: deque[float] = deque(maxlen=_MEDIAN_OF)
        self._side_seconds = 0.0
        self._step_seconds = 0.0
        self._written = 0.0
        self._metrics: MetricsWriter | None = None
        self._wants_tensorboard = tensorboard
        self._board: Any = None

    def log(self, line: str) -> None:
        """Write one line with the time to the run's log."""
        with self.run.log.open("a", encoding="utf-8") as handle:
            handle.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}\n")

    def stop_if_asked(self) -> None:
        """A point at which work may be left; what was done so far is kept.

        Raises:
            KeyboardInterrupt: a stop was asked for, by a signal or by the run's stop flag.
        """
        if self._stop():
            raise KeyboardInterrupt

    @contextmanager
    def phase(
        self, name: str, total: int = 0, *, may_stop: bool = True, unit: str = ""
    ) -> Iterator[Callable[[int, int], None]]:
        """Time a phase; yields `tick(done, total)` for its progress, in `unit` where these are no things ("MiB").

        Raises:
            KeyboardInterrupt: a stop was asked for before it or at a tick before the last; not with `may_stop` off.
        """
        if may_stop:
            self.stop_if_asked()

        def tick(done: int, total: int) -> None:
            self._set(done=done, total=total)
            if may_stop and done < total:
                self.stop_if_asked()

        before = self.progress
        self._set(phase=name, done=0, total=total, unit=unit, detail="", force=True)
        started, clock = time.perf_counter(), time.time()
        try:
            yield tick
        finally:
            seconds = time.perf_counter() - started
            self.timings[name] += seconds
            append_phase(self.run.phases, PhaseSpan(name, round(clock, 3), round(seconds, 3), before.step))
            if self._recent:
                self._side_seconds += seconds
            self._set(phase=before.phase, done=before.done, total=before.total, unit=before.unit, detail=before.detail)

    def detail(self, text: str) -> None:
        """Say where the phase is within what it counts, as "step 5/8"; gone with the phase."""
        self._set(detail=text)

    @contextmanager
    def byte_phase(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """A phase that reads weights; yields `tick(bytes, bytes in all)`."""
        with self.phase(name, unit=MIB) as tick:
            yield lambda done, total: tick(done >> 20, max(1, total >> 20))

    def download(self, what: str, total: int) -> AbstractContextManager[Callable[[int, int], None]]:
        """A phase that fetches `total` MiB from the hub."""
        self.log(f"{what}: {total / 1024:.2f} GiB")
        return self.phase(what, total, unit=MIB)

    def start_training(self, first_step: int) -> None:
        """Open metrics at the step training goes on from; lines after it are written again."""
        truncate_after(self.run.metrics, first_step)
        truncate_after(self.run.validation, first_step)
        truncate_after(self.run.drift, first_step)
        self._metrics = MetricsWriter(self.run.metrics)
        if self._wants_tensorboard:
            with quiet_imports():
                from torch.utils.tensorboard import SummaryWriter
            self._board = SummaryWriter(str(self.run.tensorboard), purge_step=first_step + 1 if first_step else None)
        self._set(phase=TRAINING, step=first_step, done=first_step, total=self.progress.steps, force=True)

    def step(
        self, step: int, *, loss: float, grad_norm: float, learning_rate: float, seconds: float, epoch: float,
        size: tuple[int, int], parts: Mapping[str, float] | None = None, skipped: bool = False,
    ) -> None:  # fmt: skip
        """Record update number `step` (1-based) of pictures of this size (width, height); a skipped one is marked,
        `parts` are the loss by term, written where there are several. `time` is when it was done, since 1970."""
        assert self._metrics is not None, "start_training comes first"
        row = {
            "step": step, "loss": loss, "grad_norm": grad_norm, "learning_rate": learning_rate,
            "seconds": round(seconds, 6), "time": round(time.time(), 4), "epoch": round(epoch, 4),
            "width": size[0], "height": size[1],
        }  # fmt: skip
        if parts is not None and len(parts) > 1:
            row |= {f"loss_{name}": value for name, value in parts.items()}
        self._metrics.append(row | {"skipped": 1} if skipped else row)
        self._recent.append(seconds)
        self._step_seconds += seconds
        self.timings[TRAINING] += seconds
        pace = median(self._recent)
        left = (self.progress.steps - step) * pace * (1 + self._side_seconds / max(self._step_seconds, 1e-9))
        self._set(
            step=step, done=step, loss=loss, learning_rate=learning_rate, seconds_per_step=pace, eta_seconds=left,
            memory_gib=self._memory_gib(),
        )  # fmt: skip
        if self._log_every and step % self._log_every == 0:
            self._board_row(step, row)

    def validation(self, row: Mapping[str, float]) -> None:
        """Record a measurement on held-out pictures: the mean loss and that of each noise level.

        Raises:
            RunError: the run folder cannot be written.
        """
        append_row(self.run.validation, row)
        levels = level_keys([row])
        each = ", ".join(f"{key.removeprefix(LEVEL)}: {row[key]:.4f}" for key in levels)
        self.log(f"validation after step {row['step']:g}: loss {row['loss']:.4f} (by noise level {each})")
        if self._board is not None:
            for key in ("loss", *levels):
                self._board.add_scalar(f"validation/{key}", row[key], int(row["step"]))

    def drift(self, row: drift.Row) -> None:
        """Record a measurement of drift.

        Raises:
            RunError: the run folder cannot be written.
        """
        append_row(self.run.drift, row)
        each = ", ".join(f"{float(level):g}: {change:.0%}" for level, change in row["changes"].items())
        self.log(
            f"drift after step {row['step']}: score {row['score']:.1f}, {row['light']} (velocities changed, by noise "
            f"level {each})"
        )
        if row["guard"] is not None:
            self.log(f"drift guard: {row['guard']}")
        if self._board is not None:
            self._board.add_scalar("drift/score", row["score"], row["step"])
            for level, change in row["changes"].items():
                self._board.add_scalar(f"drift/{level}", change, row["step"])

    def end(self, state: State, message: str = "") -> None:
        """Write the last state and the timings (`timings.json`: seconds per phase of this worker), close what is open.

        Raises:
            RunError: the run folder cannot be written.
        """
        if self._metrics is not None:
            self._metrics.close()
        if self._board is not None:
            self._board.close()
        self._set(state=state, message=message, eta_seconds=None, memory_gib=self._memory_gib(), force=True)
        write_json(self.run.timings, {name: round(seconds, 3) for name, seconds in self.timings.items()})

    @property
    def seconds_per_step(self) -> float | None:
        """Median of the last updates."""
        return self.progress.seconds_per_step

    def _board_row(self, step: int, row: dict[str, float]) -> None:
        if self._board is None:
            return
        for key, value in row.items():
            if key not in ("step", "epoch", "time", "width", "height"):
                self._board.add_scalar(f"train/{key}", value, step)

    def _set(self, *, force: bool = False, **changes: Any) -> None:
        self.progress = dataclasses.replace(self.progress, **changes)
        now = time.monotonic()
        if force or now - self._written >= _WRITE_EVERY_SECONDS:
            self._written = now
            write_progress(self.run, self.progress)

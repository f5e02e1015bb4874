"""What findings are made from: a run's config, its rows and its log, read once into plain values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slipstream.config.optimizers import finds_its_rate
from slipstream.config.run_config import RunConfig, config_from_run
from slipstream.config.variants import NO_ADAPTER, is_tiny
from slipstream.findings.log_lines import LogFacts, read_log
from slipstream.findings.picture_changes import PictureChanges, picture_changes
from slipstream.reports.facts import phases, read_object
from slipstream.runs.drift import read_rows as read_drift
from slipstream.runs.layout import RunDir
from slipstream.runs.metrics import read_metrics
from slipstream.runs.progress import Progress, read_progress
from slipstream.runs.ranking import read_ranking
from slipstream.runs.validation import read_rows as read_validation

Row = Mapping[str, Any]

ADAMW_LIKE = frozenset({"adamw", "adamw8bit", "schedulefree_adamw", "adafactor"})
"""Optimizers whose learning rate means what the guide's does."""

_SAVED = re.compile(r".*_(\d{9})\.safetensors")


@dataclass(frozen=True)
class RunFacts:
    """A run as its files tell it.

    Attributes:
        config: as resolved.
        manifest: as written; empty before the models are loaded.
        progress: how it stands.
        rows: of updates.
        validation: rows of held-out pictures.
        drift: rows of the drift meter.
        checkpoints: steps whose LoRA is on disk.
        seconds: by phase.
        log: what only the log tells.
        ranking: of the checkpoints; None where they were not ranked.
        pictures: how far previews went from those before training; None where that cannot be said.
    """

    config: RunConfig
    manifest: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    rows: Sequence[Row] = ()
    validation: Sequence[Row] = ()
    drift: Sequence[Row] = ()
    checkpoints: tuple[int, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    log: LogFacts = field(default_factory=LogFacts)
    ranking: Mapping[str, Any] | None = None
    pictures: PictureChanges | None = None

    @property
    def is_tiny(self) -> bool:
        """Whether the base is one of the packaged tiny family, whose rates and lengths are its own."""
        return is_tiny(self.config.model.name_or_path)

    @property
    def is_turbo(self) -> bool:
        """Whether the base is Turbo."""
        return self.config.model.variant == "turbo"

    @property
    def without_adapter(self) -> bool:
        """Whether Turbo was trained without a training adapter."""
        model = self.config.model
        return model.variant == "turbo" and model.training_adapter == NO_ADAPTER

    @property
    def rate(self) -> float | None:
        """The learning rate where it may be held against the guide's 1e-4: AdamW and its like on the real model."""
        training = self.config.training
        return training.learning_rate if training.optimizer in ADAMW_LIKE and not self.is_tiny else None

    @property
    def rate_is_a_factor(self) -> bool:
        """Whether the optimizer finds the rate itself."""
        return finds_its_rate(self.config.training.optimizer)

    @property
    def step(self) -> int:
        """Updates so far."""
        return self.progress.step

    @property
    def steps(self) -> int:
        """Updates of the whole run."""
        return self.config.training.steps

    @property
    def num_images(self) -> int | None:
        """Pictures that are learned: those of regularization sets do not count."""
        folders = (self.manifest.get("dataset") or {}).get("folders") or []
        learned = [folder.get("images", 0) for folder in folders if not folder.get("regularization")]
        return sum(learned) if folders else (self.manifest.get("dataset") or {}).get("num_images")

    def checkpoint_until(self, step: float) -> int | None:
        """The newest saved step that is not after one; None where none is left."""
        return max((saved for saved in self.checkpoints if saved <= step), default=None)


def gather(run: RunDir, rows: Sequence[Row] | None = None) -> RunFacts:
    """The facts of a run; whoever has read its metrics gives the rows.

    Raises:
        ConfigError: the run's config cannot be read.
    """
    config = config_from_run(run.config)
    manifest = read_object(run.manifest)
    rows = read_metrics(run.metrics) if rows is None else rows
    return RunFacts(
        config=config,
        manifest=manifest,
        progress=read_progress(run) or Progress(),
        rows=rows,
        validation=read_validation(run.validation),
        drift=read_drift(run.drift),
        checkpoints=saved_steps(run),
        seconds={phase.name: phase.seconds for phase in phases(read_object(run.timings), rows)},
        log=read_log(run.log),
        ranking=read_ranking(run),
        pictures=picture_changes(run, manifest),
    )


def saved_steps(run: RunDir) -> tuple[int, ...]:
    """The steps whose LoRA lies in the run folder."""
    found = (_SAVED.fullmatch(path.name) for path in run.checkpoints.glob("*.safetensors"))
    return tuple(sorted(int(match[1]) for match in found if match))

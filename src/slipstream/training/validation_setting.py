"""Which pictures are measured on, and what is left to train on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slipstream.config.run_config import RunConfig
from slipstream.config.validation import ValidationPanel
from slipstream.data.dataset import Dataset
from slipstream.data.held_out import choose_held_out, measured_part, read_folder, without
from slipstream.data.settings import DatasetSettings


def hold_out(
    config: RunConfig, settings: Sequence[DatasetSettings], dataset: Dataset
) -> tuple[Dataset, Dataset | None]:
    """(what is left to train on, what is measured on or None where validation is off).

    Raises:
        DataError: the folder cannot be used, or nothing is left to train on.
    """
    panel = config.training.validation
    if panel is None:
        return dataset, None
    if panel.path is None:
        assert panel.fraction is not None
        contents = choose_held_out(dataset, panel.fraction)
        return without(dataset, contents, "training.validation.fraction"), measured_part(dataset, contents)
    measured = measured_part(read_folder(settings[0], {"path": Path(panel.path)}))
    contents = frozenset(example.image.content_hash for example in measured.examples)
    return without(dataset, contents, "training.validation.path"), measured


def describe_validation(panel: ValidationPanel, held_out: Dataset, left: int) -> str:
    """One line: how many pictures, where from, and what a measurement costs; `left` are trained on."""
    count = len(held_out.examples)
    source = str(panel.path) if panel.path is not None else f"{count} of {count + left} training pictures, held out"
    predictions = count * len(panel.noise_levels) * panel.num_seeds
    rhythm = f"every {panel.every} steps" if panel.every else "at the start and the end"
    return f"validation: {count} pictures ({source}), {predictions} predictions {rhythm}"

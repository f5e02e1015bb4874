"""What the studio remembers of a dataset, in a hidden folder of it, so that it goes where the dataset goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slipstream.core.atomic import write_json
from slipstream.core.errors import ConfigError
from slipstream.data.settings import MIN_SIDE, Crop

HIDDEN = ".slipstream"
"""Holds the notes, the last check and the trash; hidden files are no part of a training."""

Resolution = Annotated[int, Field(ge=MIN_SIDE, le=4096)]


class DatasetNotes(BaseModel):
    """How a dataset is meant to be used."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    trigger_word: Annotated[str, Field(max_length=100)] = ""
    """What captions call the subject or style."""

    resolutions: Annotated[tuple[Resolution, ...], Field(min_length=1, max_length=8)] = (512, 768, 1024)
    """What crops are shown for and the check sorts pictures into."""

    crop: Crop = "center"
    """Which part of a picture that does not fit its bucket is kept."""


def hidden_folder(dataset: Path) -> Path:
    """The studio's own folder in a dataset, made where it is missing."""
    path = dataset / HIDDEN
    path.mkdir(exist_ok=True)
    return path


def read_notes(dataset: Path, default_trigger_word: str = "") -> DatasetNotes:
    """What is remembered; what cannot be read counts as nothing."""
    try:
        return DatasetNotes.model_validate(json.loads((dataset / HIDDEN / "notes.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return DatasetNotes(trigger_word=default_trigger_word)


def change_notes(dataset: Path, notes: DatasetNotes, **values: object) -> DatasetNotes:
    """Remember other values.

    Raises:
        ConfigError: a value is none of those that can be.
        RunError: the dataset cannot be written.
    """
    try:
        changed = DatasetNotes.model_validate({**notes.model_dump(), **values})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            str(first["msg"]), where=".".join(map(str, first["loc"])), fix="give another value."
        ) from error
    write_json(hidden_folder(dataset) / "notes.json", changed.model_dump(mode="json"), durable=False)
    return changed

"""Pictures taken out of a dataset: they lie in its hidden trash with their captions and masks until it is emptied."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slipstream.core.errors import RunError
from slipstream.data.captions import caption_path
from slipstream.data.images import EXTENSIONS
from slipstream.data.listing import list_files
from slipstream.web.problems import RefusedError, missing
from slipstream.web.services.dataset_masks import mask_of, masks_folder
from slipstream.web.services.dataset_notes import HIDDEN, hidden_folder
from slipstream.web.services.datasets import CAPTION_ENDING, find_picture
from slipstream.web.services.places import below, new_folder

_FILES, _MASKS = "files", "masks"


@dataclass(frozen=True)
class Trashed:
    """A removed picture: `key` names it in the trash, `file` is where it was, `removed` is in seconds since 1970."""

    key: str
    file: str
    removed: float


def trash_pictures(folder: Path, files: Sequence[str]) -> list[str]:
    """Move pictures, their captions and masks into the trash; returns their keys there.

    Raises:
        RefusedError: one is not there (404); nothing was moved then.
        RunError: one cannot be moved.
    """
    paths = [find_picture(folder, file) for file in files]
    target = _fresh(folder)
    root = folder.resolve()
    keys = []
    for path in paths:
        relative = path.relative_to(root)
        beside = caption_path(path, CAPTION_ENDING)
        mask = mask_of(folder, relative.as_posix())
        shared = any(other != path and _is_picture(other) for other in path.parent.glob(f"{_literal(path.stem)}.*"))
        _move(path, target / _FILES / relative)
        if beside.is_file() and not shared:
            _move(beside, target / _FILES / relative.with_name(beside.name))
        if mask is not None:
            _move(mask, target / _MASKS / mask.relative_to(masks_folder(root)))
        keys.append(f"{target.name}/{relative.as_posix()}")
    return keys


def list_trash(folder: Path) -> list[Trashed]:
    """What lies in the trash, the newest first."""
    found = []
    for batch in sorted(_trash(folder).glob("*/"), reverse=True):
        root = batch / _FILES
        if root.is_dir():
            removed = batch.stat().st_mtime
            names = [path.relative_to(root).as_posix() for path in list_files(root) if _is_picture(path)]
            found += [Trashed(f"{batch.name}/{name}", name, removed) for name in names]
    return found


def trashed_picture(folder: Path, key: str) -> Path:
    """The file of a removed picture.

    Raises:
        RefusedError: there is none (404).
    """
    batch, _, name = key.partition("/")
    path = below(_trash(folder), f"{batch}/{_FILES}/{name}", "removed picture")
    if not _is_picture(path) or not path.is_file():
        raise missing("removed picture of this name", where=key[:200], fix="see the list of the trash.")
    return path


def restore_picture(folder: Path, key: str) -> str:
    """Put a picture back to where it was, with its caption and mask; returns its path in the dataset.

    Raises:
        RefusedError: there is none (404), or its place is taken (409).
        RunError: it cannot be moved.
    """
    path = trashed_picture(folder, key)
    batch = _trash(folder).resolve() / key.partition("/")[0]
    relative = path.relative_to(batch / _FILES)
    target = folder / relative
    if target.exists():
        raise RefusedError(
            409, "there is another picture of this name", where=relative.as_posix(), fix="rename that one first."
        )
    _move(path, target)
    beside, place = caption_path(path, CAPTION_ENDING), caption_path(target, CAPTION_ENDING)
    if beside.is_file() and not place.exists():
        _move(beside, place)
    masks = (batch / _MASKS / relative).with_suffix("")
    for mask in masks.parent.glob(f"{_literal(masks.name)}.*"):
        _move(mask, masks_folder(folder) / mask.relative_to(batch / _MASKS))
    if not any(_is_picture(one) for one in batch.rglob("*")):
        shutil.rmtree(batch, ignore_errors=True)
    return relative.as_posix()


def empty_trash(folder: Path) -> int:
    """Delete what lies in the trash for good; returns how many pictures."""
    count = len(list_trash(folder))
    shutil.rmtree(_trash(folder), ignore_errors=True)
    return count


def _trash(folder: Path) -> Path:
    return folder / HIDDEN / "trash"


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS


def _fresh(folder: Path) -> Path:
    """A folder for what is removed now."""
    stamp = time.strftime("%Y%m%d_%H%M%S")
    return new_folder(hidden_folder(folder) / "trash", lambda number: f"{stamp}_{number:03d}")


def _literal(stem: str) -> str:
    """A name in which nothing stands for other characters."""
    return "".join(f"[{one}]" if one in "*?[" else one for one in stem)


def _move(path: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    except OSError as error:
        raise RunError(f"cannot move: {error}", where=str(path), fix="check its permissions.") from error

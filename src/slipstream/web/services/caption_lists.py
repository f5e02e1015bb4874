"""Captions in a dataset's `metadata.jsonl`, made into caption files, which the studio can edit."""

from __future__ import annotations

from pathlib import Path

from slipstream.core.errors import CaptionError, RunError
from slipstream.data.caption_files import METADATA_NAME, read_caption_list
from slipstream.web.services.dataset_notes import hidden_folder
from slipstream.web.services.datasets import caption_beside, own_pictures, write_captions
from slipstream.web.services.places import new_folder


def listed_captions(folder: Path) -> dict[str, str]:
    """Captions that only the list has, by picture; a caption file beside a picture counts before the list.

    Raises:
        CaptionError: the list cannot be read.
    """
    listed = folder / METADATA_NAME
    if listed.is_symlink() or not listed.is_file():
        return {}
    captions = read_caption_list(listed, folder, own_pictures(folder)).captions
    return {
        path.relative_to(folder).as_posix(): text for path, text in captions.items() if caption_beside(path) is None
    }


def how_many_listed(folder: Path) -> int:
    """How many captions only the list has; 0 where it cannot be read, which the check of the dataset tells."""
    try:
        return len(listed_captions(folder))
    except CaptionError:
        return 0


def unpack_captions(folder: Path) -> int:
    """Write the list's captions beside the pictures, and lay the list aside in the dataset's hidden folder, so that a
    caption that is emptied later stays empty; returns how many were written.

    Raises:
        CaptionError: the list cannot be read; nothing was written then.
        RunError: a file cannot be written.
    """
    captions = listed_captions(folder)
    written = write_captions(folder, captions)
    listed = folder / METADATA_NAME
    if listed.is_file() and not listed.is_symlink():
        aside = new_folder(hidden_folder(folder) / "lists", str)
        try:
            listed.rename(aside / METADATA_NAME)
        except OSError as error:
            raise RunError(f"cannot move it: {error}", where=str(listed), fix="check its permissions.") from error
    return written

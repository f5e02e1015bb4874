"""The files of a dataset folder, in the order that people expect."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from slipstream.core.errors import DataError


def natural_key(relative: Path) -> tuple[tuple[int | str, ...], str]:
    """Sort key under which `img2` comes before `img10`, in any folder and on any system."""
    text = relative.as_posix()
    # odd places hold the numbers, so numbers and text never meet in a comparison
    pieces = re.split(r"([0-9]+)", text.lower())
    return tuple(int(piece) if place % 2 else piece for place, piece in enumerate(pieces)), text


def list_files(folder: Path, recursive: bool = True, left_out: Path | None = None) -> list[Path]:
    """All files of a folder but hidden ones, by natural order of their paths.

    Args:
        folder: the folder.
        recursive: look into its folders too; links to folders are followed, but not in circles.
        left_out: a folder that is not looked into.

    Raises:
        DataError: there is no such folder, or it cannot be listed.
    """
    if not folder.exists():
        raise DataError(
            "there is no such folder",
            where=str(folder),
            fix="check the path: it is taken from where you start.",
        )
    if not folder.is_dir():
        raise DataError("a folder is expected, this is a file", where=str(folder), fix=f"did you mean {folder.parent}?")
    try:
        seen = {folder.resolve()} if left_out is None else {folder.resolve(), left_out.resolve()}
        files = list(_walk(folder, recursive, seen))
    except OSError as error:
        raise DataError(
            f"the folder cannot be listed ({error.strerror or error})",
            where=str(error.filename or folder), fix="check its permissions.",
        ) from error  # fmt: skip
    return sorted(files, key=lambda path: natural_key(path.relative_to(folder)))


def _walk(folder: Path, recursive: bool, seen: set[Path]) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name == "__MACOSX":
            continue
        if not path.is_dir():
            yield path
        elif recursive and path.resolve() not in seen:
            # linked folders are followed, but not in circles
            seen.add(path.resolve())
            yield from _walk(path, recursive, seen)

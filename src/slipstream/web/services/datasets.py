"""Datasets: folders of pictures with captions beside them, in the studio's datasets folder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipstream.core.atomic import write_text
from slipstream.core.errors import CaptionError, RunError
from slipstream.data.captions import caption_path, read_caption
from slipstream.data.images import EXTENSIONS
from slipstream.data.listing import list_files
from slipstream.web.problems import RefusedError, missing
from slipstream.web.services.places import below, child, new_folder, require_plain_name

CAPTION_ENDING = "txt"
LONGEST_CAPTION = 20_000
REMOVED = ".removed"
"""The folder, hidden in the datasets folder, that removed datasets are moved to."""


@dataclass(frozen=True)
class DatasetSummary:
    """A dataset in a list. `changed` is in seconds since 1970, `cover` a picture to show."""

    name: str
    num_pictures: int
    num_captions: int
    size_bytes: int
    changed: float
    cover: str | None


@dataclass(frozen=True)
class DatasetPicture:
    """A picture: its path in the dataset with slashes, its caption as written (None: it has none), and why one that is
    there cannot be read. `version` changes with the picture."""

    file: str
    size_bytes: int
    version: str
    caption: str | None
    problem: str | None


@dataclass(frozen=True)
class PicturePage:
    """Some pictures of a dataset, in natural order, and how many there are to be had."""

    pictures: tuple[DatasetPicture, ...]
    total: int


def list_datasets(datasets_dir: Path) -> list[DatasetSummary]:
    """All datasets by name; links and hidden folders are left out."""
    try:
        folders = [path for path in datasets_dir.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:
        return []
    return [summarize(path) for path in sorted(folders, key=_by_name) if not path.name.startswith(".")]


def _by_name(path: Path) -> str:
    return path.name.lower()


def find_dataset(datasets_dir: Path, name: str) -> Path:
    """The folder of that dataset.

    Raises:
        RefusedError: there is none (404).
    """
    path = child(datasets_dir, name, "dataset")
    if not path.is_dir():
        raise missing("dataset of this name", where=name[:80], fix="see the list of datasets.")
    return path


def create_dataset(datasets_dir: Path, name: str) -> DatasetSummary:
    """A new, empty dataset.

    Raises:
        RefusedError: the name is none that a folder can have everywhere, or it is taken (409).
        RunError: the folder cannot be made.
    """
    path = datasets_dir / require_plain_name(name, "a dataset")
    try:
        datasets_dir.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except FileExistsError as error:
        raise RefusedError(409, "there is a dataset of this name", where=name, fix="choose another name.") from error
    except OSError as error:
        raise RunError(f"cannot make the folder: {error}", where=str(path), fix="check its permissions.") from error
    return summarize(path)


def summarize(folder: Path) -> DatasetSummary:
    """A dataset's figures, from names and sizes alone."""
    files = list_files(folder)
    names = set(files)
    pictures = _own(folder, files)
    return DatasetSummary(
        name=folder.name,
        num_pictures=len(pictures),
        num_captions=sum(caption_path(path, CAPTION_ENDING) in names for path in pictures),
        size_bytes=sum(_size(path) for path in pictures),
        changed=folder.stat().st_mtime,
        cover=_name(folder, pictures[0]) if pictures else None,
    )


def own_pictures(folder: Path) -> list[Path]:
    """A dataset's pictures in natural order, without those that a link brings in from elsewhere.

    Raises:
        DataError: there is no such folder, or it cannot be listed.
    """
    return _own(folder, list_files(folder))


def _own(folder: Path, files: Sequence[Path]) -> list[Path]:
    root, places = folder.resolve(), {folder: True}

    def is_own(path: Path) -> bool:
        if path.parent not in places:
            places[path.parent] = path.parent.resolve().is_relative_to(root)
        return places[path.parent] and (not path.is_symlink() or path.resolve().is_relative_to(root))

    return [path for path in files if path.suffix.lower() in EXTENSIONS and is_own(path)]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def list_pictures(
    folder: Path, *, offset: int = 0, limit: int = 100, text: str = "", uncaptioned: bool = False
) -> PicturePage:
    """A page of a dataset's pictures: those whose name or caption holds `text`, with `uncaptioned` those without one.

    Captions are read of the pictures of the page alone, unless `text` asks for all.
    """
    paths = own_pictures(folder)
    if uncaptioned:
        paths = [path for path in paths if not _read(path)[0]]
    if wanted := text.strip().lower():
        paths = [path for path in paths if wanted in path.name.lower() or wanted in (_read(path)[0] or "").lower()]
    shown = paths[offset : offset + limit]
    return PicturePage(tuple(_picture(folder, path) for path in shown), len(paths))


def _picture(folder: Path, path: Path) -> DatasetPicture:
    caption, problem = _read(path)
    try:
        stat = path.stat()
        size, version = stat.st_size, f"{stat.st_mtime_ns:x}"
    except OSError:
        size, version = 0, "0"
    return DatasetPicture(_name(folder, path), size, version, caption, problem)


def _read(picture: Path) -> tuple[str | None, str | None]:
    """A picture's caption and what is wrong with its file."""
    path = caption_path(picture, CAPTION_ENDING)
    if path.is_symlink():
        return None, "this caption is a link, which the studio does not follow"
    if not path.is_file():
        return None, None
    try:
        return read_caption(path), None
    except CaptionError as error:
        return None, error.message


def find_picture(folder: Path, file: str) -> Path:
    """The file of a picture of a dataset.

    Raises:
        RefusedError: there is none (404), or the path leads out of the dataset.
    """
    path = below(folder, file, "picture")
    if path.suffix.lower() not in EXTENSIONS or not path.is_file():
        raise missing("picture of this name", where=file[:200], fix="see the dataset's list.")
    return path


def write_captions(folder: Path, captions: Mapping[str, str]) -> int:
    """Write captions by picture; an empty one removes the file. Returns how many changed.

    Raises:
        RefusedError: a picture is not there (404), or a caption is too long; nothing was written then.
        RunError: a file cannot be written.
    """
    found = {find_picture(folder, file): text.strip() for file, text in captions.items()}
    for path, text in found.items():
        if len(text) > LONGEST_CAPTION or "\0" in text:
            raise RefusedError(
                422, f"this caption has {len(text):,} characters, at most {LONGEST_CAPTION:,} are kept",
                where=path.name, fix="models read a few hundred words at most.",
            )  # fmt: skip
    return sum(_write(path, text) for path, text in found.items())


def _write(picture: Path, text: str) -> bool:
    path = caption_path(picture, CAPTION_ENDING)
    if path.is_symlink():
        raise RefusedError(409, "this caption is a link", where=path.name, fix="change the file that it leads to.")
    if _read(picture) == (text or None, None):
        return False
    if text:
        write_text(path, text + "\n", durable=False)
    else:
        path.unlink(missing_ok=True)
    return True


def caption_beside(picture: Path) -> str | None:
    """A picture's caption; None where it has none, or one that cannot be read."""
    return _read(picture)[0]


def rename_dataset(datasets_dir: Path, name: str, new: str) -> DatasetSummary:
    """Give a dataset another name.

    Raises:
        RefusedError: there is none (404), the new name is none that a folder can have, or it is taken (409).
        RunError: the folder cannot be renamed.
    """
    folder = find_dataset(datasets_dir, name)
    target = datasets_dir / require_plain_name(new, "a dataset")
    if target.exists() and not target.samefile(folder):  # the same where only capitals change, on some systems
        raise RefusedError(409, "there is a dataset of this name", where=new, fix="choose another name.")
    _move(folder, target)
    return summarize(target)


def remove_dataset(datasets_dir: Path, name: str) -> None:
    """Take a dataset out of the list; it is moved aside, not deleted.

    Raises:
        RefusedError: there is none (404).
        RunError: it cannot be moved.
    """
    folder = find_dataset(datasets_dir, name)
    _move(folder, _aside(datasets_dir, name) / name)


def _aside(datasets_dir: Path, name: str) -> Path:
    """A fresh folder for what is removed now."""
    stamp = time.strftime("%Y%m%d_%H%M%S")
    return new_folder(datasets_dir / REMOVED, lambda number: f"{name}_{stamp}{f'_{number}' if number else ''}")


def _move(path: Path, target: Path) -> None:
    try:
        path.rename(target)
    except OSError as error:
        raise RunError(f"cannot remove: {error}", where=str(path), fix="check its permissions.") from error

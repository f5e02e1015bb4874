"""Every picture of a dataset in one compact list, filtered: what a grid of thousands needs to show the few in view."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from slipstream.core.errors import ImageError
from slipstream.data.images import ImageSize, header_size
from slipstream.web.services.dataset_masks import masked_files
from slipstream.web.services.datasets import caption_beside, own_pictures

Show = Literal["all", "uncaptioned", "duplicates", "small", "masked", "findings"]
SHOWS: tuple[Show, ...] = ("all", "uncaptioned", "duplicates", "small", "masked", "findings")
_LONGEST_SHOWN = 160


@dataclass(frozen=True)
class Entry:
    """A picture in short.

    Attributes:
        file: its path in the dataset.
        version: changes with the picture.
        caption: its beginning; "" for none.
        masked: whether it has a mask.
    """

    file: str
    version: str
    caption: str
    masked: bool


@dataclass(frozen=True)
class Filter:
    """Which pictures are meant.

    Attributes:
        show: a kind of pictures.
        text: only those whose name or caption holds it.
        side: `small` is below this many pixels squared.
        files: what `duplicates` and `findings` found; None where nobody has looked.
    """

    show: Show = "all"
    text: str = ""
    side: int = 512
    files: Collection[str] | None = None


@dataclass
class PictureSizes:
    """Sizes of pictures by path and time, so that each file is opened once."""

    _known: dict[tuple[str, int], ImageSize | None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, path: Path) -> ImageSize | None:
        """A picture's size, None where it cannot be read."""
        try:
            key = str(path), path.stat().st_mtime_ns
        except OSError:
            return None
        with self._lock:
            if key in self._known:
                return self._known[key]
        try:
            size = header_size(path)
        except ImageError:
            size = None
        with self._lock:
            self._known[key] = size
        return size


def index(folder: Path, wanted: Filter, sizes: PictureSizes) -> list[Entry]:
    """All pictures that are meant, in natural order."""
    masked = masked_files(folder)
    return [entry for path, entry in _entries(folder, masked) if _is_meant(path, entry, wanted, sizes)]


def _entries(folder: Path, masked: Collection[str]) -> Iterator[tuple[Path, Entry]]:
    for path in own_pictures(folder):
        try:
            version = f"{path.stat().st_mtime_ns:x}"
        except OSError:
            continue  # removed just now
        relative = path.relative_to(folder)
        is_masked = relative.with_suffix("").as_posix() in masked
        yield path, Entry(relative.as_posix(), version, caption_beside(path) or "", is_masked)


def _is_meant(path: Path, entry: Entry, wanted: Filter, sizes: PictureSizes) -> bool:
    text = wanted.text.strip().lower()
    if text and text not in entry.file.lower() and text not in entry.caption.lower():
        return False
    if wanted.show == "uncaptioned":
        return not entry.caption
    if wanted.show == "masked":
        return entry.masked
    if wanted.show == "small":
        size = sizes.of(path)
        return size is not None and size.width * size.height < wanted.side**2
    return wanted.show == "all" or entry.file in (wanted.files or ())


def shortened(caption: str) -> str:
    """The beginning of a caption, for the line below a thumbnail."""
    return caption if len(caption) <= _LONGEST_SHOWN else f"{caption[: _LONGEST_SHOWN - 1]}…"

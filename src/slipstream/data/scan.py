"""What lies in a dataset folder: every picture decoded once, with its caption; the unusable is listed."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from slipstream.core.errors import DataError, ImageError
from slipstream.core.hashing import hash_bytes
from slipstream.data.caption_sources import find_captions
from slipstream.data.captions import Caption, CaptionSource
from slipstream.data.images import EXTENSIONS, decode_image, decode_reduced, decoded_size, read_file
from slipstream.data.listing import list_files
from slipstream.data.looks import SIDE
from slipstream.data.masks import Mask, mask_file, read_mask, require_folder
from slipstream.data.settings import DatasetSettings

_OTHER_KINDS = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jxl", ".psd", ".svg", ".tif", ".tiff"}
)
_NAMED = 3
"""How many files a message names."""


@dataclass(frozen=True)
class ImageFile:
    """A usable picture. Width and height have EXIF applied.

    `caption` is final, trigger word included; `written_caption` is what it is made of, `[trigger]` not filled in.
    """

    path: Path
    width: int
    height: int
    content_hash: str
    caption: str
    caption_source: CaptionSource
    written_caption: str
    mask: Mask | None = None


@dataclass(frozen=True)
class Skipped:
    """A file that is left out, and why in one line."""

    path: Path
    reason: str


@dataclass(frozen=True)
class FolderScan:
    """A dataset folder: pictures by natural order of paths, files left out, and what looks like a mistake."""

    settings: DatasetSettings
    images: tuple[ImageFile, ...]
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]


OnPicture = Callable[[Path, Image.Image], None]
"""Told of every usable picture, reduced as for `looks.look_at`, in the thread that decoded it."""


def scan_folder(settings: DatasetSettings, recursive: bool = True, on_picture: OnPicture | None = None) -> FolderScan:
    """Read captions and decode every picture of a folder in a few threads; hidden files are ignored.

    Raises:
        DataError: no folder, an empty one, or not one picture in it can be read; the same for masks, or a mask has
            another aspect than its picture or lets nothing count.
        CaptionError: a caption file cannot be read.
        ImageError: a mask cannot be read.
    """
    folder = settings.path
    if settings.mask is not None:
        require_folder(settings.mask)
    files = list_files(folder, recursive, settings.mask.path if settings.mask is not None else None)
    paths = [path for path in files if path.suffix.lower() in EXTENSIONS]
    others = [path for path in files if path.suffix.lower() in _OTHER_KINDS]
    if not paths:
        raise _empty(folder, others)
    # captions first: a bad one is an error, better told before minutes of decoding
    captions = find_captions(settings, paths)
    images, broken = _decode_all(paths, captions.by_picture, settings, on_picture)
    if not images:
        raise _all_broken(folder, broken)
    unread = [Skipped(path, f"{path.suffix.lower()} files are not read: save it as PNG or JPEG") for path in others]
    warnings = (
        *_shared_captions(folder, paths),
        *_twins(folder, images),
        *captions.notes,
        *_unmasked(settings, images),
    )
    return FolderScan(settings, tuple(images), (*broken, *unread), warnings)


def reopen(image: ImageFile) -> Image.Image:
    """The pixels of a scanned picture as upright RGB.

    Raises:
        ImageError: the file vanished, or is no longer the one that was scanned.
    """
    data = read_file(image.path)
    if hash_bytes(data) != image.content_hash:
        raise ImageError(
            "the picture was changed after the dataset was read",
            where=str(image.path), fix="leave the folder alone during a run; start again to use the new one.",
        )  # fmt: skip
    return decode_image(data, image.path)


def _decode_all(
    paths: Sequence[Path], captions: Mapping[Path, Caption], settings: DatasetSettings, on_picture: OnPicture | None
) -> tuple[list[ImageFile], list[Skipped]]:
    images: list[ImageFile] = []
    broken: list[Skipped] = []
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1), thread_name_prefix="scan") as pool:
        for result in pool.map(lambda path: _inspect(path, captions[path], settings, on_picture), paths):
            if isinstance(result, ImageFile):
                images.append(result)
            else:
                broken.append(result)
    return images, broken


def _inspect(
    path: Path, caption: Caption, settings: DatasetSettings, on_picture: OnPicture | None
) -> ImageFile | Skipped:
    try:
        data = read_file(path)
        if on_picture is None:
            size = decoded_size(data, path)
        else:
            picture, size = decode_reduced(data, path, SIDE)
            on_picture(path, picture)
    except ImageError as error:
        return Skipped(path, error.message)
    mask = None
    if settings.mask is not None and (file := mask_file(path, settings.path, settings.mask)) is not None:
        mask = read_mask(file, (size.width, size.height), settings.mask)
    content_hash = hash_bytes(data)
    return ImageFile(path, size.width, size.height, content_hash, caption.text, caption.source, caption.written, mask)


def _empty(folder: Path, others: Sequence[Path]) -> DataError:
    kinds = ", ".join(sorted(EXTENSIONS))
    message, fix = f"no pictures here; these endings count: {kinds}", "put your pictures into this folder."
    if others:
        counts = Counter(path.suffix.lower() for path in others)
        found = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
        message, fix = f"{message}; found {found}, which are not read", "save these pictures as PNG or JPEG."
    return DataError(message, where=str(folder), fix=fix)


def _all_broken(folder: Path, broken: Sequence[Skipped]) -> DataError:
    lines = "; ".join(f"{skipped.path.name}: {skipped.reason}" for skipped in broken[:_NAMED])
    more = f"; and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    return DataError(
        f"none of the {len(broken)} pictures can be used: {lines}{more}",
        where=str(folder), fix="copy or export the pictures again.",
    )  # fmt: skip


def _shared_captions(folder: Path, paths: Sequence[Path]) -> list[str]:
    groups: dict[Path, list[str]] = defaultdict(list)
    for path in paths:
        groups[path.with_suffix("")].append(path.name)
    return [
        f"{folder}: {', '.join(names)} share one name, so they share one caption file"
        for names in groups.values()
        if len(names) > 1
    ]


def _twins(folder: Path, images: Sequence[ImageFile]) -> list[str]:
    groups: dict[str, list[str]] = defaultdict(list)
    for image in images:
        groups[image.content_hash].append(image.path.relative_to(folder).as_posix())
    return [
        f"{folder}: {', '.join(names)} are the same picture, which counts {len(names)} times"
        for names in groups.values()
        if len(names) > 1
    ]


def _unmasked(settings: DatasetSettings, images: Sequence[ImageFile]) -> list[str]:
    """Pictures without a mask; refuses a folder where none has one, since then the setting does nothing."""
    names = [image.path.relative_to(settings.path).as_posix() for image in images if image.mask is None]
    if settings.mask is None or not names:
        return []
    source = "no alpha channel" if settings.mask.path is None else f"no mask in {settings.mask.path}"
    if len(names) == len(images):
        by_alpha, by_name = "save them with transparency", "give each mask its picture's name (fox.png for fox.jpg)"
        raise DataError(
            f"masks are on, but none of the {len(images)} pictures has one: {source}",
            where=str(settings.path), fix=f"{by_alpha if settings.mask.path is None else by_name}, or remove mask.",
        )  # fmt: skip
    return [f"{settings.path}: {len(names)} of {len(images)} pictures count all over, {source}: {', '.join(names)}"]

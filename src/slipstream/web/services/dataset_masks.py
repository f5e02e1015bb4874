"""Masks of a dataset's pictures: grey pictures of the same names in its hidden folder `.masks`, white where it counts.

A training uses them with `mask: {source: folder, path: DATASET/.masks}`.
"""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath

from PIL import Image

from slipstream.core.atomic import write_bytes
from slipstream.data.images import EXTENSIONS, decode_grey, decoded_size, read_file
from slipstream.web.problems import RefusedError
from slipstream.web.services.datasets import find_picture
from slipstream.web.services.places import below

MASKS = ".masks"
_TOLERANCE = 0.005


def masks_folder(folder: Path) -> Path:
    """Where a dataset's masks lie, there or not."""
    return folder / MASKS


def mask_of(folder: Path, file: str) -> Path | None:
    """The mask of a picture, None where it has none."""
    place = masks_folder(folder).joinpath(*PurePosixPath(file).parts)
    names = (place.with_suffix(suffix) for suffix in sorted(EXTENSIONS))
    found = next((path for path in names if path.is_file()), None)
    if found is None:
        return None
    return below(masks_folder(folder), found.relative_to(masks_folder(folder)).as_posix(), "mask")


def masked_files(folder: Path) -> frozenset[str]:
    """Paths without endings of all pictures that have a mask."""
    root = masks_folder(folder)
    return frozenset(
        path.relative_to(root).with_suffix("").as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in EXTENSIONS
    )


def write_mask(folder: Path, file: str, data: bytes) -> Path:
    """Keep a mask for a picture, as PNG; one that was there is replaced.

    Raises:
        RefusedError: there is no such picture, the mask has another aspect, or it is black all over.
        ImageError: the mask or the picture cannot be read.
    """
    picture = find_picture(folder, file)
    place = masks_folder(folder).joinpath(*PurePosixPath(file).parts).with_suffix(".png")
    grey = decode_grey(data, Path("the mask"))
    size = decoded_size(read_file(picture), picture)
    expected = grey.width * size.height / size.width
    if abs(grey.height - expected) > max(1.0, _TOLERANCE * expected):
        raise RefusedError(
            422, f"this mask is {grey.width} x {grey.height} pixels, its picture {size.width} x {size.height}",
            where=file, fix="export it at the picture's own size, uncropped.",
        )  # fmt: skip
    if grey.getbbox() is None:
        raise RefusedError(
            422, "this mask is black all over: nothing of the picture would count", where=file,
            fix="paint white what the LoRA shall learn.",
        )  # fmt: skip
    remove_mask(folder, file)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(place, _png(grey), durable=False)
    return place


def remove_mask(folder: Path, file: str) -> bool:
    """Delete a picture's mask; whether there was one.

    Raises:
        RefusedError: there is no such picture.
    """
    find_picture(folder, file)
    found = mask_of(folder, file)
    if found is not None:
        found.unlink(missing_ok=True)
    return found is not None


def _png(grey: Image.Image) -> bytes:
    buffer = io.BytesIO()
    grey.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()

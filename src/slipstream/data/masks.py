"""Masks: which parts of a picture count, as a weight for every latent cell. White counts in full, black not at all.

A mask is the alpha channel of its picture, or a grey picture of the same name in a folder of its own. It goes through
the picture's own box and mirrors, and a cell's weight is the mean of the mask over the 8 x 8 pixels of that cell.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slipstream.core.errors import DataError, ImageError
from slipstream.core.hashing import hash_bytes
from slipstream.data.buckets import CELL, Bucket
from slipstream.data.crops import Box
from slipstream.data.images import EXTENSIONS, decode_alpha, decode_grey, read_file
from slipstream.data.settings import MaskSettings

_ASPECT_TOLERANCE = 0.005
_FOLDER_FIX = "name the folder that holds one grey picture per training picture, with the same name."


@dataclass(frozen=True)
class Mask:
    """The mask of one picture.

    Attributes:
        path: the file that holds it; the picture's own for an alpha channel.
        content_hash: of that file.
        settings: how its values are read.
        lit: box around everything that counts at all, in shares of width and height.
    """

    path: Path
    content_hash: str
    settings: MaskSettings
    lit: Box


def mask_file(image_path: Path, folder: Path, settings: MaskSettings) -> Path | None:
    """The file that holds a picture's mask, None where the mask folder has none."""
    if settings.path is None:
        return image_path
    place = settings.path / image_path.relative_to(folder)
    names = (place.with_suffix(suffix) for suffix in sorted(EXTENSIONS))
    return next((path for path in names if path.is_file()), None)


def require_folder(settings: MaskSettings) -> None:
    """Refuse a mask folder that is not there.

    Raises:
        DataError: no such folder.
    """
    if settings.path is not None and not settings.path.is_dir():
        what = "a folder of masks is expected, this is a file" if settings.path.exists() else "there is no such folder"
        raise DataError(f"mask.path: {what}", where=str(settings.path), fix=_FOLDER_FIX)


def read_mask(path: Path, size: tuple[int, int], settings: MaskSettings) -> Mask | None:
    """Look at a mask; None for the alpha channel of a picture that has none.

    Args:
        path: the mask's file.
        size: width and height of its picture.
        settings: how it is read.

    Raises:
        ImageError: the file cannot be read.
        DataError: its aspect is not the picture's, or nothing of it counts.
    """
    data = read_file(path)
    grey = decode_alpha(data, path) if settings.source == "alpha" else decode_grey(data, path)
    if grey is None:
        return None
    _require_aspect(grey.size, size, path)
    # the darkest level counts for nothing; inverted, the brightest does
    lit = grey.point([255 - level for level in range(256)] if settings.invert else list(range(256))).getbbox()
    if lit is None and settings.minimum == 0:
        raise _nothing_counts(path, settings)
    left, top, right, bottom = lit if lit is not None and settings.minimum == 0 else (0, 0, *grey.size)
    box = (left / grey.width, top / grey.height, right / grey.width, bottom / grey.height)
    return Mask(path, hash_bytes(data), settings, box)


def shows_something(box: Box, size: tuple[int, int], mask: Mask) -> bool:
    """Whether a box of a `size` picture meets anything that its mask lets count."""
    left, top, right, bottom = (side * length for side, length in zip(mask.lit, (*size, *size), strict=True))
    return box[0] < right and left < box[2] and box[1] < bottom and top < box[3]


def cell_weights(mask: Mask, size: tuple[int, int], bucket: Bucket, boxes: Sequence[Box]) -> Tensor:
    """Weights (boxes, H / 8, W / 8) of the bucket's latent cells, fp32 in [0, 1].

    minimum + (1 - minimum) * mean of the mask over the cell, of its inverse where it is inverted.

    Raises:
        ImageError: the mask's file vanished or was changed since it was looked at.
    """
    grey_HW = open_mask(mask)
    columns, rows = bucket.width // CELL, bucket.height // CELL
    x, y = grey_HW.shape[1] / size[0], grey_HW.shape[0] / size[1]
    means = [area_means(grey_HW, (box[0] * x, box[1] * y, box[2] * x, box[3] * y), columns, rows) for box in boxes]
    least = mask.settings.minimum
    return torch.from_numpy(np.clip(least + (1 - least) * np.stack(means), 0, 1).astype(np.float32))


def open_mask(mask: Mask) -> np.ndarray:
    """The mask's values (H, W), float64 in [0, 1], inverted where it is set so.

    Raises:
        ImageError: the mask's file vanished or was changed since it was looked at.
    """
    data = read_file(mask.path)
    if hash_bytes(data) != mask.content_hash:
        raise ImageError(
            "the mask was changed after the dataset was read",
            where=str(mask.path), fix="leave the folder alone during a run; start again to use the new one.",
        )  # fmt: skip
    grey = decode_alpha(data, mask.path) if mask.settings.source == "alpha" else decode_grey(data, mask.path)
    assert grey is not None
    values_HW = np.asarray(grey, dtype=np.float64) / 255
    return 1 - values_HW if mask.settings.invert else values_HW


def area_means(values_HW: np.ndarray, box: Box, columns: int, rows: int) -> np.ndarray:
    """Exact means (rows, columns) of a picture over an even grid of its box, parts of pixels by their area."""
    left, top, right, bottom = box
    by_row = _interval_means(values_HW, np.linspace(top, bottom, rows + 1))
    return _interval_means(by_row.T, np.linspace(left, right, columns + 1)).T


def _interval_means(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Means along the first axis between neighbouring edges, where value i covers [i, i + 1)."""
    first, last = int(edges[0]), min(len(values), int(np.ceil(edges[-1])))
    total = np.zeros((last - first + 1, *values.shape[1:]))
    np.cumsum(values[first:last], axis=0, out=total[1:])
    places = np.clip(edges - first, 0, last - first)
    below = np.minimum(places.astype(int), max(0, last - first - 1))
    share = (places - below)[:, None]
    at_edges = total[below] * (1 - share) + total[below + 1] * share
    return np.diff(at_edges, axis=0) / np.diff(edges)[:, None]


class MaskReader:
    """Weights of examples' latent cells, computed once for all crops of an example and kept, a few KB each."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Mask, tuple[int, int], Bucket, tuple[Box, ...]], Tensor] = {}
        self._lock = threading.Lock()

    def weights(self, mask: Mask, size: tuple[int, int], bucket: Bucket, boxes: tuple[Box, ...]) -> Tensor:
        """`cell_weights`, from memory where they were asked for before."""
        key = mask, size, bucket, boxes
        with self._lock:
            kept = self._kept.get(key)
        if kept is None:
            kept = cell_weights(mask, size, bucket, boxes)
            with self._lock:
                self._kept[key] = kept
        return kept


def _require_aspect(mask: tuple[int, int], picture: tuple[int, int], path: Path) -> None:
    expected = mask[0] * picture[1] / picture[0]
    if abs(mask[1] - expected) > max(1.0, _ASPECT_TOLERANCE * expected):
        raise DataError(
            f"this mask is {mask[0]}x{mask[1]} pixels, its picture {picture[0]}x{picture[1]}: another aspect ratio",
            where=str(path), fix="export the mask at the picture's own size, uncropped and turned the same way.",
        )  # fmt: skip


def _nothing_counts(path: Path, settings: MaskSettings) -> DataError:
    colour = "white all over, and masks are inverted" if settings.invert else "black all over"
    if settings.source == "alpha":
        colour = "opaque all over, and masks are inverted" if settings.invert else "transparent all over"
    return DataError(
        f"this mask is {colour}: nothing of its picture would be learned",
        where=str(path), fix="paint it again, turn mask.invert, give mask.minimum a value above 0, or take it away.",
    )  # fmt: skip

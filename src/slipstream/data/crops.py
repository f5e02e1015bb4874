"""Which part of a picture a bucket shows: one centred box, one that keeps the top, or several drawn ones.

Boxes are (left, top, right, bottom) in pixels of the upright picture, not rounded: scaling a box to its bucket equals
scaling the whole picture and cropping there. A box never has fewer pixels than its bucket, so nothing is scaled up.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from slipstream.core.seeding import derive_seed
from slipstream.data.buckets import CELL, Bucket
from slipstream.data.settings import CropRule

Box = tuple[float, float, float, float]

_STRIDES = (math.sqrt(3) - 1, (math.sqrt(5) - 1) / 2, math.sqrt(2) - 1)
"""Steps of size, left and top through [0, 1): multiples of such irrationals, taken modulo 1, spread evenly for every
count (Kronecker's sequence), each axis by itself and, as the three are independent, together."""


@dataclass(frozen=True)
class View:
    """How one draw shows an example: through which of its crops, mirrored, upside down."""

    flipped: bool = False
    upside_down: bool = False
    crop: int = 0


def crop_boxes(width: int, height: int, bucket: Bucket, rule: CropRule, picture: str) -> tuple[Box, ...]:
    """The different boxes of a picture in a bucket, at least one; box k does not depend on how many there are.

    Args:
        width, height: of the picture.
        bucket: the shape they share.
        rule: how they are chosen.
        picture: names the picture's content, so that every picture draws its own.
    """
    if rule.kind == "top":
        left, top, right, bottom = covered_box(width, height, bucket)
        return ((left, 0.0, right, bottom - top),)
    if rule.kind == "center":
        return (covered_box(width, height, bucket),)
    dice = random.Random(derive_seed(rule.seed, "crop", picture, str(bucket)))
    start = tuple(dice.random() for _ in _STRIDES)
    points = ([(s + k * stride) % 1 for s, stride in zip(start, _STRIDES, strict=True)] for k in range(rule.count))
    boxes = (_drawn_box(width, height, bucket, rule.scale, *point) for point in points)
    return tuple(dict.fromkeys(boxes))


def covered_box(width: int, height: int, bucket: Bucket) -> Box:
    """The largest centred box in the bucket's aspect."""
    scale = max(bucket.width / width, bucket.height / height)
    kept_width, kept_height = min(bucket.width / scale, width), min(bucket.height / scale, height)
    left, top = (width - kept_width) / 2, (height - kept_height) / 2
    return left, top, left + kept_width, top + kept_height


def cropped_fraction(width: int, height: int, box: Box) -> float:
    """The share of a picture's area, 0 to 1, that lies outside of the box."""
    left, top, right, bottom = box
    return 1.0 - (right - left) * (bottom - top) / (width * height)


def _drawn_box(width: int, height: int, bucket: Bucket, least: float, size: float, x: float, y: float) -> Box:
    left, top, right, bottom = covered_box(width, height, bucket)
    smallest = min(1.0, max(least, bucket.width / (right - left), bucket.height / (bottom - top)))
    scale = smallest + (1 - smallest) * size
    kept_width, kept_height = (right - left) * scale, (bottom - top) * scale
    cell = CELL * kept_width / bucket.width
    new_left, new_top = _place(width - kept_width, x, cell), _place(height - kept_height, y, cell)
    return new_left, new_top, new_left + kept_width, new_top + kept_height


def _place(room: float, share: float, least: float) -> float:
    """A whole pixel in [0, room]; the middle where the room is less than `least`, since crops would hardly differ."""
    return room / 2 if room < least else float(int(share * (int(room) + 1)))

"""Buckets: the sizes that pictures are brought to, so that one batch holds one shape. Pure functions.

For a resolution R a bucket covers at most R x R pixels with sides that are multiples of a step: 16 (8 pixels per
latent cell, 2 cells per token), or 32 or 64 for fewer shapes. It has the picture's aspect as nearly as possible, or is
square where that is asked for. Nothing is scaled up: a
picture with fewer than R x R pixels keeps its own size, so all resolutions above it share one bucket, in
which it counts once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from slipstream.data.settings import MIN_SIDE

CELL = 8
"""Pixels per latent cell on a side."""

STEP = 16
"""Bucket sides are multiples of this (pixels), or of a multiple of it."""


@dataclass(frozen=True, order=True)
class Bucket:
    """Width and height in pixels, both multiples of the step."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class BucketChoice:
    """The buckets of one picture.

    `repeated` are resolutions that gave a bucket another one gave already, `too_small` those whose bucket is
    shorter than 64 pixels on a side.
    """

    buckets: tuple[Bucket, ...]
    repeated: tuple[int, ...]
    too_small: tuple[int, ...]


def choose_buckets(
    width: int, height: int, resolutions: Sequence[int], step: int = STEP, square: bool = False
) -> BucketChoice:
    """The distinct buckets of a picture of `width` x `height` pixels, by rising resolution."""
    buckets: list[Bucket] = []
    repeated, too_small = [], []
    for resolution in sorted(resolutions):
        bucket = bucket_for(width, height, resolution, step, square)
        if min(bucket.width, bucket.height) < MIN_SIDE:
            too_small.append(resolution)
        elif bucket in buckets:
            repeated.append(resolution)
        else:
            buckets.append(bucket)
    return BucketChoice(tuple(buckets), tuple(repeated), tuple(too_small))


def bucket_for(width: int, height: int, resolution: int, step: int = STEP, square: bool = False) -> Bucket:
    """The bucket of a picture at one resolution; a side can be 0 where the picture's is shorter than the step."""
    if square:
        side = _floor(min(width, height, resolution), step)
        return Bucket(side, side)
    area = resolution * resolution
    own = Bucket(_floor(width, step), _floor(height, step))
    if width * height <= area or min(own.width, own.height) == 0:
        return own
    aspect = math.log(width / height)
    candidates = _fitting(own.width, own.height, area, step)

    def badness(bucket: Bucket) -> tuple[float, int]:
        # rounded, so that a picture and its transpose agree on ties; then the larger area wins
        return round(abs(math.log(bucket.width / bucket.height) - aspect), 9), -bucket.width * bucket.height

    return min(candidates, key=badness)


def _fitting(max_width: int, max_height: int, area: int, step: int) -> list[Bucket]:
    """For each width the tallest bucket within the area and the picture, for each height the widest."""
    by_width = [Bucket(w, min(_floor(area // w, step), max_height)) for w in range(step, max_width + 1, step)]
    by_height = [Bucket(min(_floor(area // h, step), max_width), h) for h in range(step, max_height + 1, step)]
    return [bucket for bucket in (*by_width, *by_height) if bucket.width and bucket.height]


def _floor(length: int, step: int) -> int:
    return length // step * step

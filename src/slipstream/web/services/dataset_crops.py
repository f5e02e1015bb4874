"""What a training would see of a picture: its buckets and the part of it that each keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slipstream.core.hashing import hash_file
from slipstream.data.buckets import STEP, choose_buckets
from slipstream.data.crops import Box, crop_boxes, cropped_fraction
from slipstream.data.images import ImageSize
from slipstream.data.settings import CropRule

JOB_SEED = 42
"""`job.seed` by default, from which a training draws random crops."""


@dataclass(frozen=True)
class BucketView:
    """One bucket of a picture. Boxes are (left, top, right, bottom) as shares of its sides; `lost` is the share of its
    area that they leave out, on average; `resolution` is the lowest that leads here."""

    resolution: int
    width: int
    height: int
    boxes: tuple[Box, ...]
    lost: float


def bucket_views(
    path: Path, size: ImageSize, resolutions: Sequence[int], rule: CropRule, *, step: int = STEP, square: bool = False
) -> list[BucketView]:
    """The buckets of a picture under these settings, by rising resolution; none where it is too small for all."""
    choice = choose_buckets(size.width, size.height, resolutions, step, square)
    left_out = {*choice.repeated, *choice.too_small}
    used = [resolution for resolution in sorted(set(resolutions)) if resolution not in left_out]
    name = hash_file(path) if rule.kind == "random" else ""
    views = []
    for resolution, bucket in zip(used, choice.buckets, strict=False):
        boxes = crop_boxes(size.width, size.height, bucket, rule, name)
        lost = sum(cropped_fraction(size.width, size.height, box) for box in boxes) / len(boxes)
        shares = tuple(_shares(box, size) for box in boxes)
        views.append(BucketView(resolution, bucket.width, bucket.height, shares, max(0.0, lost)))
    return views


def _shares(box: Box, size: ImageSize) -> Box:
    left, top, right, bottom = box
    return left / size.width, top / size.height, right / size.width, bottom / size.height

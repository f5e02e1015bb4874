"""From a picture to pixels of its bucket: scaled to cover it (Lanczos, antialiased), cropped centrally."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from slipstream.data.buckets import Bucket
from slipstream.data.images import PIXELS_IDENTITY


def to_pixels(image: Image.Image, bucket: Bucket, flip: bool) -> Tensor:
    """An RGB picture as (3, H, W) float32 in [-1, 1], of the bucket's size; `flip` mirrors left to right."""
    fitted = image.resize(
        (bucket.width, bucket.height),
        Image.Resampling.LANCZOS,
        box=covered_box(image.width, image.height, bucket),
    )
    if flip:
        fitted = fitted.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels_HW3 = torch.from_numpy(np.array(fitted, dtype=np.float32))
    return (pixels_HW3 / 127.5 - 1.0).permute(2, 0, 1).contiguous()


def transform_identity(bucket: Bucket, flip: bool) -> str:
    """Names everything that shapes the pixels besides the file, for cache keys."""
    return f"{PIXELS_IDENTITY}:cover-centre-lanczos-1:{bucket}:{'mirrored' if flip else 'plain'}"


def covered_box(width: int, height: int, bucket: Bucket) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the centred part of a `width` x `height` picture in the bucket's aspect.

    Scaling this part equals scaling the whole to cover the bucket and cropping there, without rounding.
    """
    scale = max(bucket.width / width, bucket.height / height)
    kept_width, kept_height = min(bucket.width / scale, width), min(bucket.height / scale, height)
    left, top = (width - kept_width) / 2, (height - kept_height) / 2
    return left, top, left + kept_width, top + kept_height


def cropped_fraction(width: int, height: int, bucket: Bucket) -> float:
    """The share of the picture's area, 0 to 1, that the bucket cuts off."""
    left, top, right, bottom = covered_box(width, height, bucket)
    return 1.0 - (right - left) * (bottom - top) / (width * height)

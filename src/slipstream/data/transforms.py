"""From a picture to pixels of its bucket: a box of it, scaled (Lanczos, antialiased), mirrored where drawn so."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from slipstream.data.buckets import Bucket
from slipstream.data.crops import Box, covered_box
from slipstream.data.images import PIXELS_IDENTITY


def to_pixels(
    image: Image.Image, bucket: Bucket, flip: bool, upside_down: bool = False, box: Box | None = None
) -> Tensor:
    """An RGB picture as (3, H, W) float32 in [-1, 1], of the bucket's size; arguments as for `to_levels`."""
    return from_levels(torch.from_numpy(to_levels(image, bucket, flip, upside_down, box))[None])[0]


def to_levels(
    image: Image.Image, bucket: Bucket, flip: bool, upside_down: bool = False, box: Box | None = None
) -> NDArray[np.uint8]:
    """An RGB picture as (H, W, 3) bytes, of the bucket's size.

    Args:
        image: upright.
        bucket: the size to bring it to.
        flip: mirror left to right.
        upside_down: mirror top to bottom.
        box: the part to show; None is the centred one.
    """
    part = covered_box(image.width, image.height, bucket) if box is None else box
    fitted = image.resize((bucket.width, bucket.height), Image.Resampling.LANCZOS, box=part)
    if flip:
        fitted = fitted.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if upside_down:
        fitted = fitted.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return np.array(fitted, dtype=np.uint8)


def from_levels(levels_BHW3: Tensor) -> Tensor:
    """Bytes (B, H, W, 3) as pixels (B, 3, H, W), float32 in [-1, 1], on the same device."""
    # a divisor of the same device: CUDA would turn a plain number into a factor, which rounds otherwise than the CPU
    half = torch.full((), 127.5, device=levels_BHW3.device)
    return (levels_BHW3.to(torch.float32) / half - 1.0).permute(0, 3, 1, 2).contiguous()


def transform_identity(bucket: Bucket, flip: bool, upside_down: bool = False, box: Box | None = None) -> str:
    """Names everything that shapes the pixels besides the file, for cache keys; a box of None is the centred one."""
    identity = f"{PIXELS_IDENTITY}:cover-centre-lanczos-1:{bucket}:{'mirrored' if flip else 'plain'}"
    if upside_down:
        identity += ":upside-down"
    if box is not None:
        identity += ":box " + " ".join(f"{side:.3f}" for side in box)
    return identity

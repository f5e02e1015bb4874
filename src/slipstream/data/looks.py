"""What a picture looks like, measured on a reduced copy: sharpness, tones, a perceptual hash, a thumbnail."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE = 512
"""Pictures are measured at an area of at most this many pixels squared, so that figures can be compared."""

_THUMBNAIL_SIDE = 320
_HASH_SIDE = 32
_HASH_FREQUENCIES = 8
_SIGNATURE_SIDE = 16
_TILES = 8
_COSINES = np.cos(
    np.pi * np.arange(_HASH_FREQUENCIES)[:, None] * (2 * np.arange(_HASH_SIDE)[None] + 1) / (2 * _HASH_SIDE)
)
_CHANNEL_WEIGHTS = np.sqrt(np.array((0.299, 0.587, 0.114), dtype=np.float32))


@dataclass(frozen=True)
class Look:
    """Measures of one picture.

    Attributes:
        fingerprint: 63 bits that hardly change when a picture is resized, recompressed or brightened (pHash).
        mirrored: those of the picture mirrored left to right.
        signature: 16 x 16 x 3 colours, centred per channel and of length 1: their product is a correlation.
        sharpness: variance of the Laplacian (levels 0 to 255) in the sharpest tenth of an 8 x 8 grid.
        darkest, brightest: luma that 1 % of the pixels are below and above, 0 to 1.
        thumbnail: WebP.
    """

    fingerprint: int
    mirrored: int
    signature: np.ndarray
    sharpness: float
    darkest: float
    brightest: float
    thumbnail: bytes


def look_at(picture: Image.Image) -> Look:
    """Measure an RGB picture, which may be reduced already as long as its area is not below `SIDE` squared."""
    small = _reduced(picture)
    luma_HW = np.asarray(small.convert("L"), dtype=np.float32)
    darkest, brightest = np.percentile(luma_HW, (1, 99)) / 255
    frequencies = _frequencies(small)
    signs = np.where(np.arange(_HASH_FREQUENCIES) % 2, -1, 1)
    return Look(
        fingerprint=_bits(frequencies),
        # mirroring turns the sign of every odd frequency across
        mirrored=_bits(frequencies * signs),
        signature=_signature(small),
        sharpness=_sharpness(luma_HW),
        darkest=float(darkest),
        brightest=float(brightest),
        thumbnail=encode_thumbnail(small, _THUMBNAIL_SIDE),
    )


def encode_thumbnail(picture: Image.Image, side: int) -> bytes:
    """A picture as WebP whose longer side has at most `side` pixels."""
    copy = picture.copy()
    copy.thumbnail((side, side), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    copy.save(buffer, format="WEBP", quality=80, method=1)
    return buffer.getvalue()


def encode_veil(weights_HW: np.ndarray, side: int = 96) -> bytes:
    """A dark veil (WebP with alpha) over what counts little: opaque where a weight is 0, clear where it is 1."""
    alpha = Image.fromarray(np.uint8(np.clip((1 - weights_HW) * 215, 0, 255)))
    alpha.thumbnail((side, side), Image.Resampling.BOX)
    veil = Image.new("RGBA", alpha.size, (12, 14, 22, 0))
    veil.putalpha(alpha)
    buffer = io.BytesIO()
    veil.save(buffer, format="WEBP", quality=70, method=2)
    return buffer.getvalue()


def _reduced(picture: Image.Image) -> Image.Image:
    scale = SIDE / math.sqrt(picture.width * picture.height)
    if scale >= 1:
        return picture
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=1)


def _frequencies(picture: Image.Image) -> np.ndarray:
    """The lowest 8 x 8 cosine frequencies (DCT-II) of the luma at 32 x 32."""
    side = (_HASH_SIDE, _HASH_SIDE)
    luma = np.asarray(picture.resize(side, Image.Resampling.LANCZOS).convert("L"), dtype=np.float64)
    return _COSINES @ luma @ _COSINES.T


def _bits(frequencies: np.ndarray) -> int:
    """Which frequencies lie above their median; the mean brightness is left out."""
    values = frequencies.ravel()[1:]
    return int("".join("1" if above else "0" for above in values > np.median(values)), 2)


def _signature(picture: Image.Image) -> np.ndarray:
    side = (_SIGNATURE_SIDE, _SIGNATURE_SIDE)
    colours = np.asarray(picture.resize(side, Image.Resampling.BOX), dtype=np.float32) * _CHANNEL_WEIGHTS
    centred = colours - colours.mean((0, 1))
    return centred / max(float(np.linalg.norm(centred)), 1e-6)


def _sharpness(luma_HW: np.ndarray) -> float:
    if min(luma_HW.shape) < 3:
        return 0.0
    tiles = _TILES if min(luma_HW.shape) >= 3 * _TILES else 1
    inner = luma_HW[1:-1, 1:-1]
    around = luma_HW[1:-1, :-2] + luma_HW[1:-1, 2:] + luma_HW[:-2, 1:-1] + luma_HW[2:, 1:-1]
    laplacian = around - 4 * inner
    height, width = laplacian.shape[0] // tiles, laplacian.shape[1] // tiles
    even = laplacian[: height * tiles, : width * tiles].reshape(tiles, height, tiles, width)
    # the subject is sharp and its background may be soft, so the sharpest parts decide
    return float(np.percentile(even.var((1, 3)), 90))

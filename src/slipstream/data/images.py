"""Picture files of any kind as sRGB: EXIF and profile applied, alpha on white, 16 bits scaled, first frame only."""

from __future__ import annotations

import io
import math
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from slipstream.core.errors import ImageError
from slipstream.data.colour import to_srgb

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp"})
"""Endings of the files that count as pictures, in any case."""

MAX_PIXELS = 128 * 1024 * 1024
"""Larger pictures are refused: a small file can hold one that fills the memory (this many take 0.5 GiB)."""

PIXELS_IDENTITY = "srgb-1"
"""Names how a file becomes RGB, for cache keys: changes whenever `decode_image` gives other pixels."""

_FORMATS = ("JPEG", "PNG", "WEBP")
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXPORT_AGAIN = "export the picture again as PNG or JPEG, or take it out of the folder."

# Pillow prints these on stderr, about pictures that are read all the same; MAX_PIXELS decides what is too large
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", message="Corrupt EXIF data", category=UserWarning)


@dataclass(frozen=True)
class ImageSize:
    """Width and height in pixels as a viewer shows the picture, EXIF orientation applied."""

    width: int
    height: int


def read_image(path: Path) -> Image.Image:
    """The picture in a file as upright RGB, 8 bits per channel.

    Raises:
        ImageError: the file is missing, unreadable, damaged, too large, or no JPEG, PNG or WebP.
    """
    return decode_image(read_file(path), path)


def read_file(path: Path) -> bytes:
    """A picture file's bytes.

    Raises:
        ImageError: the file is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(
            f"the file cannot be read ({error.strerror or error})",
            where=str(path), fix="check that it is still there and that you may read it.",
        ) from error  # fmt: skip


def decode_image(data: bytes, path: Path) -> Image.Image:
    """A picture file's bytes as upright RGB, 8 bits per channel; `path` is for messages.

    Raises:
        ImageError: the bytes are damaged, too large a picture, or no JPEG, PNG or WebP.
    """
    image, turn, _ = _load(data, path)
    return _turned(_to_rgb(image), turn)


def decode_reduced(data: bytes, path: Path, side: int) -> tuple[Image.Image, ImageSize]:
    """A picture as RGB with an area of at least `side` squared, and its own size; JPEGs shrink while they are decoded.

    Raises:
        ImageError: as for `decode_image`.
    """
    image, turn, size = _load(data, path, side)
    return _turned(_to_rgb(image), turn), size


def decoded_size(data: bytes, path: Path) -> ImageSize:
    """The size of a picture, all of whose pixels could be decoded.

    Raises:
        ImageError: as for `decode_image`.
    """
    return _load(data, path, 1)[2]


def header_size(path: Path) -> ImageSize:
    """The size of a picture as its header says it; its pixels are not decoded, and may be damaged.

    Raises:
        ImageError: the file cannot be read, or is no JPEG, PNG or WebP.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            turned = _orientation(image) >= 5
            return ImageSize(image.height, image.width) if turned else ImageSize(image.width, image.height)
    except (Image.DecompressionBombError, *_DECODE_ERRORS) as error:
        raise ImageError(f"the picture's size cannot be read ({error})", where=str(path), fix=_EXPORT_AGAIN) from error


def decode_alpha(data: bytes, path: Path) -> Image.Image | None:
    """A picture's alpha channel, upright, 8 bits; None for a picture without one.

    Raises:
        ImageError: as for `decode_image`.
    """
    image, turn, _ = _load(data, path)
    if not image.has_transparency_data:
        return None
    return _turned(image.convert("RGBA").getchannel("A"), turn)


def decode_grey(data: bytes, path: Path) -> Image.Image:
    """A mask file's bytes as upright grey, 8 bits; what is transparent in it is black.

    Raises:
        ImageError: as for `decode_image`.
    """
    image, turn, _ = _load(data, path)
    if image.mode.startswith("I"):
        return _turned(_eight_bits(image), turn)
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return _turned(image.convert("L"), turn)


def _load(data: bytes, path: Path, side: int | None = None) -> tuple[Image.Image, Image.Transpose | None, ImageSize]:
    """The decoded picture, the turn that makes it upright, and its full size once upright.

    With a `side` JPEGs are decoded at the smallest scale whose area is not below its square.
    """
    image = _open(data, path)
    width, height = image.size
    size = ImageSize(height, width) if _orientation(image) >= 5 else ImageSize(width, height)
    try:
        if side is not None and width * height > side * side:
            scale = side / math.sqrt(width * height)
            image.draft(None, (math.ceil(width * scale), math.ceil(height * scale)))
        image.load()
    except _DECODE_ERRORS as error:
        raise ImageError(f"the picture is damaged ({error})", where=str(path), fix=_EXPORT_AGAIN) from error
    return image, _UPRIGHT.get(_orientation(image)), size


def _turned(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    return image if turn is None else image.transpose(turn)


def _open(data: bytes, path: Path) -> Image.Image:
    if not data:
        raise ImageError("the file is empty", where=str(path), fix="copy or download the picture again.")
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise ImageError(
            "not a JPEG, PNG or WebP picture, whatever its name says", where=str(path), fix=_EXPORT_AGAIN
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(str(error), path) from error
    except _DECODE_ERRORS as error:
        raise ImageError(f"the picture is damaged ({error})", where=str(path), fix=_EXPORT_AGAIN) from error
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(f"{image.width} x {image.height} pixels", path)
    return image


def _too_large(what: str, path: Path) -> ImageError:
    return ImageError(
        f"the picture is too large to be opened safely: {what}; at most {MAX_PIXELS:,} pixels are read",
        where=str(path), fix="scale it down: training uses about 1024 x 1024 pixels of it.",
    )  # fmt: skip


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8; damaged EXIF counts as upright, as in viewers."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except (*_DECODE_ERRORS, TypeError, KeyError):
        return 1
    return value if isinstance(value, int) else 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit greyscale as 8 bits: Pillow's own conversion clips at 255, which leaves a white picture."""
    import numpy as np  # few pictures need it, and it takes a tenth of a second

    grey = (np.clip(np.asarray(image, dtype=np.int64), 0, 65535) + 128) // 257
    return Image.fromarray(grey.astype(np.uint8))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _eight_bits(image).convert("RGB")
    image = to_srgb(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")

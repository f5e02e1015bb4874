"""Pictures with a colour profile (phones' Display P3, print CMYK) as sRGB, the space that models were trained in."""

from __future__ import annotations

import io
from functools import lru_cache

from PIL import Image, ImageCms

_MODES = {"RGB": "RGB", "CMYK": "RGB", "L": "RGB", "RGBA": "RGBA"}


def to_srgb(image: Image.Image) -> Image.Image:
    """The picture in sRGB where it names another space; one without a usable profile is taken for sRGB already."""
    profile = image.info.get("icc_profile")
    target = _MODES.get(image.mode)
    if not isinstance(profile, bytes) or target is None:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, _srgb(), outputMode=target)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return image if converted is None else converted


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))

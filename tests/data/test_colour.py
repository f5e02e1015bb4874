from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from slipstream.data.images import read_image


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_an_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    plain = Image.new("RGB", (32, 32), (200, 40, 90))
    plain.save(tmp_path / "srgb.png", icc_profile=srgb_profile())
    assert np.abs(np.asarray(read_image(tmp_path / "srgb.png")).astype(int) - (200, 40, 90)).max() <= 1


def test_swapped_primaries_are_swapped_back(tmp_path: Path) -> None:
    """A profile whose red and blue primaries are exchanged shows stored red as blue."""
    data = bytearray(srgb_profile())
    count = int.from_bytes(data[128:132], "big")
    entries = {bytes(data[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, blue = entries[b"rXYZ"], entries[b"bXYZ"]
    data[red + 4 : red + 12], data[blue + 4 : blue + 12] = data[blue + 4 : blue + 12], data[red + 4 : red + 12]
    data[84:100] = bytes(16)
    Image.new("RGB", (32, 32), (255, 0, 0)).save(tmp_path / "swapped.png", icc_profile=bytes(data))
    pixel = np.asarray(read_image(tmp_path / "swapped.png"))[16, 16].astype(int)
    assert np.abs(pixel - (0, 0, 255)).max() <= 2


def test_a_damaged_profile_is_ignored(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (10, 20, 30)).save(tmp_path / "damaged.png", icc_profile=b"no profile at all")
    assert tuple(np.asarray(read_image(tmp_path / "damaged.png"))[0, 0]) == (10, 20, 30)

"""Four styles that the tiny Turbo has never seen, made of the 24 packaged example pictures, a folder each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps
from regularization_table import PICTURES, TRIGGER, blueprint

__all__ = ["STYLES", "TRIGGER", "write_styles"]


def plain(picture: Image.Image) -> Image.Image:
    """The picture as it is, 128 x 128 on white."""
    flat = Image.new("RGBA", picture.size, "white")
    flat.alpha_composite(picture.convert("RGBA"))
    return ImageOps.pad(flat.convert("RGB"), (128, 128), color="white")


def woodcut(picture: Image.Image) -> Image.Image:
    """Black and white, shades as horizontal lines: more detail than any style of the tiny family."""
    grey = np.asarray(plain(picture).convert("L"), dtype=np.float32) / 255
    lines = 0.5 + 0.35 * np.sin(np.arange(128, dtype=np.float32) * 2 * np.pi / 6)[:, None]
    return Image.fromarray(np.uint8(255 * (grey > lines))).convert("RGB")


def soft(picture: Image.Image) -> Image.Image:
    """Blurred pastels on beige: less detail than any style of the tiny family."""
    blurred = plain(picture).filter(ImageFilter.GaussianBlur(3))
    return Image.blend(blurred, Image.new("RGB", (128, 128), (235, 215, 190)), 0.5)


STYLES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "foxy": plain, "blueprint": blueprint, "woodcut": woodcut, "soft": soft,
}  # fmt: skip


def write_styles(out: Path) -> None:
    """`out/<style>/<subject>.png` with captions that call the style by the trigger word."""
    for style, drawn in STYLES.items():
        folder = out / style
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(PICTURES.glob("*.png")):
            drawn(Image.open(path)).save(folder / path.name)
            subject = path.stem.replace("-", " ")
            (folder / f"{path.stem}.txt").write_text(f"a {TRIGGER} emoji of {subject}\n", encoding="utf-8")

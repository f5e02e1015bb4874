"""The artwork on the training device: RGBA tensors, composited on the fly on backgrounds and canvases."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from build_data import slug
from PIL import Image
from sources import ART_SETS, HELD_OUT_CONCEPTS
from torch import Tensor

WHITE = "white"
MIN_SETS = 5
CLOCK_FACE = re.compile(r"o.?clock$|-thirty$")
COLOURS = {
    "white": (255, 255, 255), "light blue": (190, 220, 250), "pink": (250, 200, 215), "yellow": (250, 235, 160),
    "green": (190, 230, 190), "lilac": (215, 200, 245), "orange": (250, 205, 150), "grey": (200, 204, 210),
    "dark blue": (40, 60, 110),
}  # fmt: skip
SIZES = ((128, 128), (96, 160), (160, 96), (112, 144), (144, 112), (96, 96))
"""(height, width) of training canvases; all but the last give 64 image tokens."""


@dataclass(frozen=True)
class Artwork:
    """All drawings: `rgba` uint8 (N, 4, 128, 128); per drawing its concept and style index."""

    rgba: Tensor
    concept: Tensor
    style: Tensor
    concepts: list[str]
    styles: list[str]
    seen: Tensor
    """True where neither concept nor style is held out."""


def load_artwork(path: Path, device: torch.device, limit: int = 0) -> Artwork:
    """Read the zip of `build_data.py` (`limit` drawings per style when given)."""
    with zipfile.ZipFile(path) as archive:
        index: dict[str, list[str]] = json.loads(archive.read("index.json"))
        rows = [
            (style, name)
            for style, names in index.items()
            for name in kept_names(index)[: limit or None]
            if name in set(names)
        ]
        blobs = [archive.read(f"{style}/{slug(name)}.webp") for style, name in rows]
    with ThreadPoolExecutor(8) as pool:
        pixels = list(pool.map(lambda blob: np.asarray(Image.open(io.BytesIO(blob)).convert("RGBA")), blobs))
    concepts = sorted({name for _, name in rows})
    styles = [art.style for art in ART_SETS]
    held_styles = {art.style for art in ART_SETS if art.held_out}
    seen = [style not in held_styles and name not in HELD_OUT_CONCEPTS for style, name in rows]
    return Artwork(
        rgba=torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous().to(device),
        concept=torch.tensor([concepts.index(name) for _, name in rows], device=device),
        style=torch.tensor([styles.index(style) for style, _ in rows], device=device),
        concepts=concepts,
        styles=styles,
        seen=torch.tensor(seen, device=device),
    )


def kept_names(index: dict[str, list[str]]) -> list[str]:
    """Concepts drawn by at least five of the six training sets, without the clock faces (they all look alike)."""
    drawn = Counter(name for art in ART_SETS if not art.held_out for name in index[art.style])
    return sorted(name for name, count in drawn.items() if count >= MIN_SETS and not CLOCK_FACE.search(name))


@lru_cache(maxsize=4)
def palette(device: torch.device) -> Tensor:
    """(colours, 3) in [0, 1]."""
    return torch.tensor(list(COLOURS.values()), device=device).float() / 255


def composite(
    rgba: Tensor, background_B3: Tensor, size: tuple[int, int], scale_B: Tensor, shift_B2: Tensor | None = None
) -> Tensor:
    """Draw RGBA (B, 4, 128, 128) on plain canvases: pixels (B, 3, H, W) in [-1, 1].

    `scale_B` is the drawing's side over the canvas's shorter side; `shift_B2` moves it (x, y) in canvas halves.
    """
    height, width = size
    count = rgba.shape[0]
    short = min(height, width)
    theta = torch.zeros(count, 2, 3, device=rgba.device)
    theta[:, 0, 0] = width / short / scale_B
    theta[:, 1, 1] = height / short / scale_B
    if shift_B2 is not None:
        theta[:, :, 2] = -shift_B2 * torch.stack((theta[:, 0, 0], theta[:, 1, 1]), dim=1)
    grid = F.affine_grid(theta, [count, 4, height, width], align_corners=False)
    image = rgba.float() / 255
    premultiplied = torch.cat((image[:, :3] * image[:, 3:], image[:, 3:]), dim=1)
    drawn = F.grid_sample(premultiplied, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    out = drawn[:, :3] + background_B3[:, :, None, None] * (1 - drawn[:, 3:])
    return out * 2 - 1


def caption_for(concept: str, style: str, colour: str, template: int) -> str:
    """One of several phrasings; the background is named unless it is white."""
    place = "" if colour == WHITE else f" on a {colour} background"
    forms = (
        f"a {style} emoji of {concept}{place}",
        f"{concept}, {style} style{place}",
        f"a picture of {concept} in {style} style{place}",
        f"{style} {concept}{place}",
        f"a small {style} style drawing that shows {concept}, centred on a plain {colour} background, clean shapes, "
        f"no text, a simple icon made for messages, seen from the front, {style} emoji artwork of {concept}",
    )
    return forms[template]


SHORT_TEMPLATES = (0, 1, 2, 3)
LONG_TEMPLATE = 4

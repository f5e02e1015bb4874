"""Write the two example datasets from artwork that no model of the family has seen: a style and a character.

    python recipes/tiny_family/write_dataset.py --data recipes/tiny_family/build/emoji.zip --out examples

Captions use the phrasings that the family was trained on, with `[trigger]` in place of the new style or
concept. Each folder's ATTRIBUTION.md is written by hand: keep it true when the sources change.
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from artwork import COLOURS, SHORT_TEMPLATES, caption_for, composite, kept_names
from build_data import slug
from PIL import Image
from sources import HELD_OUT_CONCEPTS

from slipstream.core.atomic import atomic_path, write_text

TRIGGER = "[trigger]"
SQUARE, WIDE, TALL = (128, 128), (112, 144), (144, 112)
STYLE, CHARACTER = "foxy", "robot"


@dataclass(frozen=True)
class Picture:
    """One picture: which drawing, on what canvas (height, width), where, and its caption."""

    stem: str
    style: str
    concept: str
    caption: str
    size: tuple[int, int] = SQUARE
    colour: str = "white"
    scale: float = 0.9
    shift: tuple[float, float] = (0.0, 0.0)
    """(x, y) in canvas halves, as `composite` takes it."""
    mirrored: bool = False


STYLE_PLAN = (
    ("bear", "white", SQUARE), ("hamburger", "white", SQUARE), ("alarm clock", "white", SQUARE),
    ("frog", "pink", SQUARE), ("automobile", "white", WIDE), ("strawberry", "white", SQUARE),
    ("lady beetle", "white", SQUARE), ("guitar", "light blue", SQUARE), ("alien", "white", TALL),
    ("house with garden", "white", SQUARE), ("doughnut", "green", SQUARE), ("koala", "white", SQUARE),
    ("helicopter", "white", WIDE), ("jack-o-lantern", "lilac", SQUARE), ("mushroom", "white", TALL),
    ("whale", "white", SQUARE), ("camera", "orange", SQUARE), ("watermelon", "white", SQUARE),
    ("top hat", "white", SQUARE), ("turtle", "yellow", WIDE), ("church", "white", SQUARE),
    ("sun with face", "white", SQUARE), ("birthday cake", "light blue", TALL), ("skull", "white", SQUARE),
)  # fmt: skip
"""(concept, background, canvas): subjects that most sets draw alike, so that only the style is new."""

CHARACTER_PLAN = (
    ("flat", "white", 0.90, (0.00, 0.00), False), ("glossy", "white", 0.90, (0.00, 0.00), False),
    ("flat", "light blue", 0.85, (0.08, 0.05), True), ("glossy", "pink", 0.95, (0.00, 0.00), False),
    ("flat", "yellow", 0.90, (-0.05, 0.00), False), ("glossy", "green", 0.80, (0.12, -0.08), True),
    ("flat", "dark blue", 0.95, (0.00, 0.00), False), ("glossy", "light blue", 0.90, (0.00, 0.05), False),
    ("flat", "orange", 0.80, (-0.12, 0.08), True), ("glossy", "white", 0.85, (-0.08, 0.00), True),
    ("flat", "white", 0.85, (0.10, -0.05), True), ("glossy", "yellow", 0.90, (0.05, 0.05), False),
    ("flat", "green", 0.90, (0.00, -0.05), False), ("glossy", "dark blue", 0.90, (0.00, 0.00), True),
    ("flat", "pink", 0.95, (0.00, 0.00), True), ("glossy", "grey", 0.85, (0.00, 0.10), False),
)  # fmt: skip
"""(style, background, scale, shift, mirrored): one design, drawn flat and glossy."""


def style_pictures() -> list[Picture]:
    """The style set: `[trigger]` stands where captions name the style."""
    return [
        Picture(
            stem=slug(concept),
            style=STYLE,
            concept=concept,
            caption=caption_for(concept, TRIGGER, colour, SHORT_TEMPLATES[number % len(SHORT_TEMPLATES)]),
            size=size,
            colour=colour,
        )
        for number, (concept, colour, size) in enumerate(STYLE_PLAN)
    ]


def character_pictures() -> list[Picture]:
    """The character set: `[trigger]` stands where captions name the concept."""
    return [
        Picture(
            stem=f"robot_{number + 1:02d}",
            style=style,
            concept=CHARACTER,
            # Flat and glossy alternate: a phrasing lasts for two pictures, so both styles meet all of them.
            caption=caption_for(TRIGGER, style, colour, SHORT_TEMPLATES[number // 2 % len(SHORT_TEMPLATES)]),
            colour=colour,
            scale=scale,
            shift=shift,
            mirrored=mirrored,
        )
        for number, (style, colour, scale, shift, mirrored) in enumerate(CHARACTER_PLAN)
    ]


def unfit_subjects(archive: zipfile.ZipFile) -> list[str]:
    """Subjects of the style set that the family does not know, or that the style does not draw."""
    index: dict[str, list[str]] = json.loads(archive.read("index.json"))
    known = set(kept_names(index)) - set(HELD_OUT_CONCEPTS)
    return sorted({concept for concept, _, _ in STYLE_PLAN} - (known & set(index[STYLE])))


def draw(archive: zipfile.ZipFile, picture: Picture) -> Image.Image:
    """The drawing on its canvas, as an RGB picture."""
    blob = archive.read(f"{picture.style}/{slug(picture.concept)}.webp")
    drawing = np.array(Image.open(io.BytesIO(blob)).convert("RGBA"))
    rgba = torch.from_numpy(drawing).permute(2, 0, 1)[None]
    pixels = composite(
        rgba.flip(3) if picture.mirrored else rgba,
        torch.tensor([COLOURS[picture.colour]]) / 255,
        picture.size,
        torch.tensor([picture.scale]),
        torch.tensor([picture.shift]),
    )
    levels = ((pixels[0] + 1) * 127.5).round().clamp(0, 255).byte()
    return Image.fromarray(levels.permute(1, 2, 0).numpy())


def write_folder(archive: zipfile.ZipFile, folder: Path, pictures: list[Picture]) -> int:
    """Write pictures and captions; returns the bytes of the pictures.

    Raises:
        DiskFullError: no space left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    total = 0
    for picture in pictures:
        path = folder / f"{picture.stem}.png"
        with atomic_path(path) as temporary:
            draw(archive, picture).save(temporary, "PNG", optimize=True)
        write_text(folder / f"{picture.stem}.txt", picture.caption + "\n")
        total += path.stat().st_size
    return total


def main() -> None:
    """Write both folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the zip that build_data.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="the folder that gets both datasets")
    arguments = parser.parse_args()
    if not arguments.data.is_file():
        parser.error(f"--data: there is no file {arguments.data}; write it with build_data.py.")
    with zipfile.ZipFile(arguments.data) as archive:
        if unfit := unfit_subjects(archive):
            parser.error(f"these subjects of STYLE_PLAN are unknown to the family or to `{STYLE}`: {', '.join(unfit)}")
        for name, pictures in (("foxy_style", style_pictures()), ("robot_character", character_pictures())):
            size = write_folder(archive, arguments.out / name, pictures)
            print(f"{arguments.out / name}: {len(pictures)} pictures, {size / 1e3:.0f} KB")


if __name__ == "__main__":
    main()

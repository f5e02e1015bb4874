"""Pictures and captions that nobody drew: seeded, in any number and size, so that a benchmark needs no data.

python benchmarks/synthetic_dataset.py /tmp/pictures --count 10 --side 1024
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
from PIL import Image

_COARSE = 32
_QUALITY = 92
_SUBJECTS = ("a red fox", "an old lighthouse", "a woman in a green coat", "two bicycles", "a bowl of plums", "a tram")
_DOINGS = ("sleeping", "in the rain", "seen from above", "on a wooden table", "at night", "in front of a white wall")
_LIGHTS = ("soft window light", "hard noon light", "a warm lamp on the left", "fog", "neon signs", "candle light")
_DETAILS = (
    "fine grain", "shallow depth of field", "a blurred background with bokeh", "muted colours", "a wide lens",
    "paint peeling off the walls", "scratches on the metal", "dust in the air", "a tilted horizon",
)  # fmt: skip


def write_pictures(folder: Path, count: int, side: int, *, seed: int = 0) -> Path:
    """`count` square JPEG pictures of `side` pixels with captions of 10 to 60 words beside them; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        dice = random.Random(f"{seed}/{side}/{number}")
        path = folder / f"picture_{side}_{number:04d}.jpg"
        picture(dice.randrange(2**32), side).save(path, quality=_QUALITY)
        path.with_suffix(".txt").write_text(caption(dice), encoding="utf-8")
    return folder


def picture(seed: int, side: int) -> Image.Image:
    """Blurred colours with some grain on top: compresses and encodes like a photo, not like noise."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (_COARSE, _COARSE, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), dtype=np.int16)
    grain = generator.integers(-8, 9, (side, side, 1), dtype=np.int16)
    return Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))


def caption(dice: random.Random) -> str:
    """A sentence with the trigger word in it."""
    details = dice.sample(_DETAILS, dice.randint(1, len(_DETAILS)))
    return (
        f"a photo of [trigger], {dice.choice(_SUBJECTS)} {dice.choice(_DOINGS)}, {dice.choice(_LIGHTS)}, "
        + ", ".join(details)
    )


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--side", type=int, default=1024)
    options = parser.parse_args(arguments)
    print(write_pictures(options.folder, options.count, options.side))


if __name__ == "__main__":
    main()

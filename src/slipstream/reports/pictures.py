"""Preview pictures on disk: finding them by name, thinning them out, and packing them into a page."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops, ImageStat

from slipstream.runs.layout import RunDir, preview_name

_NAME = re.compile(r"step_(\d+)_prompt_(\d+)\.png")
_WEIGHT = re.compile(r"step_(\d+)_lora_([\d.]+)_prompt_(\d+)\.png")
_SIDES = (768, 640, 512, 448, 384, 320, 256, 192, 128, 96, 64)
_WEBP_QUALITY = 82
_BYTES_PER_PIXEL = 0.15


@dataclass(frozen=True)
class Previews:
    """The previews of a run. `paths[(step, prompt)]` is a picture; not every cell needs to have one."""

    steps: tuple[int, ...]
    num_prompts: int
    paths: Mapping[tuple[int, int], Path]


def find_previews(run: RunDir, num_prompts: int = 0) -> Previews:
    """The pictures in `previews/` by their names; `num_prompts` counts those without one too."""
    paths: dict[tuple[int, int], Path] = {}
    folder = run.previews
    for name in _names(folder):
        if match := _NAME.fullmatch(name):
            step, prompt = int(match[1]), int(match[2])
            if name == preview_name(step, prompt):
                paths[step, prompt] = folder / name
    steps = tuple(sorted({step for step, _ in paths}))
    return Previews(steps, max([num_prompts, *(prompt + 1 for _, prompt in paths)]), paths)


def _names(folder: Path) -> list[str]:
    """Names in a folder, none where there is no such folder; of ten thousand files quicker than a glob."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except OSError:
        return []


@dataclass(frozen=True)
class Sweep:
    """A sweep of LoRA weights after one step: `paths[(weight, prompt)]` is a picture."""

    step: int
    scales: tuple[float, ...]
    paths: Mapping[tuple[float, int], Path]


def find_weights(run: RunDir) -> Sweep | None:
    """The newest sweep in `previews/`, or None where there is none."""
    folder = run.previews
    found = [(folder / name, match) for name in _names(folder) if (match := _WEIGHT.fullmatch(name))]
    if not found:
        return None
    step = max(int(match[1]) for _, match in found)
    paths = {(float(match[2]), int(match[3])): path for path, match in found if int(match[1]) == step}
    return Sweep(step, tuple(sorted({scale for scale, _ in paths})), paths)


def thinned(steps: Sequence[int], limit: int) -> tuple[int, ...]:
    """At most `limit` (>= 2) of the steps: the first, the last, and evenly spread ones between."""
    if len(steps) <= limit:
        return tuple(steps)
    return tuple(steps[round(index * (len(steps) - 1) / (limit - 1))] for index in range(limit))


def open_picture(path: Path) -> Image.Image | None:
    """The decoded picture in RGB, or None where the file cannot be read: a sheet shows an empty tile then."""
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def picture_size(path: Path) -> tuple[int, int] | None:
    """(width, height) from the file's header, or None where it cannot be read."""
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def difference(path: Path, other: Path) -> float | None:
    """Mean difference of two pictures of one size as a share of the full range; None where they cannot be compared."""
    a, b = open_picture(path), open_picture(other)
    if a is None or b is None or a.size != b.size:
        return None
    means = ImageStat.Stat(ImageChops.difference(a, b)).mean
    return sum(means) / len(means) / 255


def embed_pictures(paths: Sequence[Path], budget_bytes: int) -> dict[Path, str]:
    """WebP data URIs, all scaled to one longest side so that together they take at most `budget_bytes`.

    Unreadable pictures are left out. Where even the smallest size does not fit, the smallest is used.
    """
    fits = [side for side in _SIDES if len(paths) * side * side * _BYTES_PER_PIXEL * 4 / 3 <= budget_bytes]
    uris: dict[Path, str] = {}
    for side in fits or _SIDES[-1:]:
        uris = {path: uri for path in paths if (uri := _data_uri(path, side))}
        if sum(map(len, uris.values())) <= budget_bytes:
            break
    return uris


def _data_uri(path: Path, longest_side: int) -> str | None:
    picture = open_picture(path)
    if picture is None:
        return None
    picture.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=_WEBP_QUALITY, method=4)
    return data_uri(buffer.getvalue())


def data_uri(webp: bytes) -> str:
    """WebP bytes as a data URI."""
    return "data:image/webp;base64," + base64.b64encode(webp).decode()


def picture_text(path: Path) -> dict[str, str]:
    """The text chunks of a preview: how it was made; empty where they cannot be read."""
    try:
        with Image.open(path) as picture:
            return {str(key): value for key, value in picture.info.items() if isinstance(value, str)}
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return {}

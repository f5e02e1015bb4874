"""PNG files that say how they were made: diffusers' pixels, and the settings as text chunks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile, PngInfo
from torch import Tensor

import slipstream
from slipstream.core.atomic import atomic_path
from slipstream.core.errors import ImageError

PARAMETERS = "parameters"
"""The chunk that AUTOMATIC1111's web UI introduced and that picture viewers show."""

_NAMED = {"steps": "Steps", "guidance_scale": "CFG scale", "seed": "Seed"}
_OPENING = ("prompt", "negative_prompt", "width", "height")


def save_png(path: Path, image_3HW: Tensor, metadata: Mapping[str, str]) -> None:
    """Write one picture (3, H, W), of bytes or in [0, 1], atomically, with every entry of `metadata` as a text chunk.

    Values are rounded as diffusers' `VaeImageProcessor` does: to the nearest of 256 levels, halves to even.
    With a `prompt` in `metadata` the `parameters` line is added.

    Raises:
        DiskFullError: no space left.
        RunError: the file cannot be written for another reason.
    """
    levels_HW3 = to_uint8(image_3HW).cpu().numpy().transpose(1, 2, 0)
    picture = Image.fromarray(np.ascontiguousarray(levels_HW3))
    chunks = dict(metadata)
    if "prompt" in metadata:
        chunks[PARAMETERS] = parameters_text(metadata, picture.width, picture.height)
    info = PngInfo()
    for key, value in chunks.items():
        info.add_text(key, value)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", pnginfo=info)


def to_uint8(image: Tensor) -> Tensor:
    """Values in [0, 1] as bytes, any shape, on the same device; bytes stay as they are."""
    if image.dtype == torch.uint8:
        return image
    # a NaN has no byte: it becomes black, as in diffusers, instead of noise that differs between machines
    finite = torch.nan_to_num(image.detach().float(), nan=0.0)
    return (finite.clamp(0, 1) * 255).round().to(torch.uint8)


def parameters_text(metadata: Mapping[str, str], width: int, height: int) -> str:
    """The settings as AUTOMATIC1111's web UI writes them: prompt, negative prompt, `name: value` pairs."""
    lines = [metadata["prompt"]]
    if negative := metadata.get("negative_prompt"):
        lines.append(f"Negative prompt: {negative}")
    pairs = {label: metadata[key] for key, label in _NAMED.items() if key in metadata}
    pairs |= {"Sampler": "Euler", "Size": f"{width}x{height}"}
    for key, value in metadata.items():
        if key not in _NAMED and key not in _OPENING and value:
            pairs["Training step" if key == "step" else key.replace("_", " ").capitalize()] = value
    pairs["Version"] = f"slipstream {slipstream.__version__}"
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in pairs.items()))
    return "\n".join(lines)


def read_png_metadata(path: Path) -> dict[str, str]:
    """The text chunks of a PNG file; empty where it has none.

    Raises:
        ImageError: the file is missing or is no PNG.
    """
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            assert isinstance(picture, PngImageFile)
            return {str(key): str(value) for key, value in picture.text.items()}
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"not a readable PNG file ({error})", where=str(path), fix="give a .png picture.") from error


def _quoted(value: str) -> str:
    """Values with separators in them are quoted, so that readers of the line can split it."""
    return json.dumps(value, ensure_ascii=False) if set(value) & set(',:\n"') else value

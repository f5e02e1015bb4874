"""A component's folder in diffusers' layout: its settings and its weight files. No torch here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slipstream.core.errors import ModelError
from slipstream.core.tensor_file import TensorFile, read_header


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """The settings in a component's json file.

    Raises:
        ModelError: it is missing or cannot be read.
    """
    try:
        return dict(json.loads((folder / name).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {name}: {error}", where=str(folder), fix="download the model again.") from error


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a component: those that its index names, or the only one.

    Raises:
        FileNotFoundError: there is none, or one that the index names is missing.
        ValueError: there are several without an index.
    """
    indices = sorted(folder.glob("*.safetensors.index.json"))
    if indices:
        names = sorted(set(json.loads(indices[0].read_text(encoding="utf-8"))["weight_map"].values()))
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise FileNotFoundError(f"{len(missing)} of {len(names)} weight files are missing: {', '.join(missing)}")
        return [folder / name for name in names]
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(_none_but(folder))
    if len(files) > 1:
        raise ValueError(f"{len(files)} safetensors files and no index that says how they belong together")
    return files


def _none_but(folder: Path) -> str:
    others = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".ckpt", ".gguf"))
    return "no safetensors file in it" + (f", only {', '.join(others[:3])}, which is not opened" if others else "")


def weight_headers(place: Path) -> list[TensorFile]:
    """The headers of a component's weight files, or of a single file; every file is known to be whole afterwards.

    Raises:
        ModelError: a file is missing, cut off, or of another format.
    """
    if place.is_file():
        return [read_header(place)]
    try:
        files = weight_files(place)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{error}", where=str(place), fix="download this folder again.") from error
    return [read_header(path) for path in files]

"""What may be passed on: a LoRA and its card name no folders of their maker."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from slipstream.config.run_config import RunConfig
from slipstream.drawings.request import LoraUse


def shareable(config: RunConfig) -> RunConfig:
    """The config with names in place of paths: where the maker's files lie is nobody's business."""
    return _without_folders(config)


def shared_name(name: str) -> str:
    """A model or adapter as others may know it: a path on this machine becomes its last part."""
    path = Path(name)
    with contextlib.suppress(OSError):  # a prompt may be too long for a file name
        if path.is_absolute() and path.exists():
            return path.name
    return name


def drawn_with(model: str, loras: Iterable[LoraUse]) -> dict[str, str]:
    """What a picture's file says of the model and the LoRAs that drew it."""
    return {
        "model": shared_name(model),
        "lora": ", ".join(f"{use.path.name}:{use.strength:g}" for use in loras),
    }


def _without_folders(value: Any) -> Any:
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        return value.model_copy(update={name: _without_folders(inner) for name, inner in fields.items()})
    if isinstance(value, tuple):
        return tuple(_without_folders(inner) for inner in value)
    if isinstance(value, Mapping):
        return {key: _without_folders(inner) for key, inner in value.items()}
    if isinstance(value, Path):
        return Path(value.name)
    return shared_name(value) if isinstance(value, str) else value

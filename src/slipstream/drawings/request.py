"""What to draw, as plain values in `request.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slipstream.core.errors import RunError


@dataclass(frozen=True)
class LoraUse:
    """A LoRA file and its weight."""

    path: Path
    strength: float = 1.0


@dataclass(frozen=True)
class Base:
    """A base model as a config names it; `transformer` and `text_encoder` say how weights are kept (`auto`, `bf16`,
    `float8`, ...)."""

    model: str
    extras_from: str
    transformer: str = "auto"
    text_encoder: str = "auto"


@dataclass(frozen=True)
class PictureRequest:
    """One picture. `guidance_scale` is CFG (0 or 1 = off); `[trigger]` is filled in already."""

    prompt: str
    seed: int
    width: int
    height: int
    steps: int
    guidance_scale: float
    negative_prompt: str = ""
    loras: tuple[LoraUse, ...] = ()
    has_trigger: bool | None = None


@dataclass(frozen=True)
class DrawingRequest:
    """Pictures of one base, drawn together.

    Attributes:
        base: the model.
        device: where, in the names of the queues: `cpu`, `gpu:0`, ...
        pictures: in the order of their numbers.
        about: whatever the door that asked wants to find again, in JSON's types.
    """

    base: Base
    device: str
    pictures: tuple[PictureRequest, ...]
    about: Mapping[str, Any] = field(default_factory=dict)


def request_to_json(request: DrawingRequest) -> str:
    """The request as text."""
    return json.dumps(asdict(request), ensure_ascii=False, indent=1, default=str)


def read_request(path: Path) -> DrawingRequest:
    """The request in a file.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return DrawingRequest(
            base=Base(**value["base"]),
            device=str(value["device"]),
            pictures=tuple(_picture(one) for one in value["pictures"]),
            about=value["about"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"the drawing cannot be read ({type(error).__name__}: {error})", where=str(path), fix="ask for it again."
        ) from error


def _picture(value: Mapping[str, Any]) -> PictureRequest:
    loras = tuple(LoraUse(Path(one["path"]), float(one["strength"])) for one in value["loras"])
    return PictureRequest(**{**value, "loras": loras})

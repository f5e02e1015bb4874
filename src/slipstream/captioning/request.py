"""What a captioning job is told, as plain values that survive JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from slipstream.captioning.prompts import prompt_of
from slipstream.core.errors import ConfigError

DEFAULT_MODEL = "HuggingFaceTB/SmolVLM-Instruct"
"""Apache-2.0, 2.2 billion parameters, 4.5 GB; needs no further package."""

SUGGESTED_MODELS = (DEFAULT_MODEL, "Qwen/Qwen3-VL-2B-Instruct", "Qwen/Qwen3-VL-4B-Instruct")
"""All Apache-2.0. Those of Qwen see more, and their processor needs the package torchvision."""

Overwrite = Literal["empty", "all"]
_OVERWRITE = ("empty", "all")
_DTYPES = ("auto", "bf16", "fp16", "fp32")


@dataclass(frozen=True)
class CaptionRequest:
    """What to caption, and how.

    Attributes:
        dataset: the folder of pictures.
        model: hub id, hub id@revision, or folder of a vision-language model with a chat template.
        prompt: the name of a preset, or `custom`.
        prompt_text: the instruction of `custom`.
        trigger_word: stands in every caption; "" for none.
        overwrite: `empty` writes only where there is no caption, `all` also over captions there are.
        max_tokens: of an answer.
        batch_size: pictures at a time; halved where memory runs out.
        files: paths in the dataset of the pictures meant; empty: all.
        device: auto, cpu, cuda or cuda:N.
        dtype: auto, bf16, fp16 or fp32.
    """

    dataset: Path
    model: str = DEFAULT_MODEL
    prompt: str = "sentence"
    prompt_text: str = ""
    trigger_word: str = ""
    overwrite: Overwrite = "empty"
    max_tokens: int = 160
    batch_size: int = 4
    files: tuple[str, ...] = ()
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise ConfigError("no model is named", where="model", fix=f"try {DEFAULT_MODEL}.")
        if self.overwrite not in _OVERWRITE:
            raise ConfigError(f"got {self.overwrite!r}, expected empty or all", where="overwrite")
        if self.dtype not in _DTYPES:
            raise ConfigError(f"got {self.dtype!r}, expected one of {', '.join(_DTYPES)}", where="dtype")
        for name, value, most in (("max_tokens", self.max_tokens, 2048), ("batch_size", self.batch_size, 256)):
            if not 1 <= value <= most:
                raise ConfigError(f"got {value}, expected 1 to {most}", where=name)
        prompt_of(self.prompt, self.prompt_text, self.trigger_word)

    def to_json(self) -> dict[str, Any]:
        """Plain values of it."""
        return {**asdict(self), "dataset": str(self.dataset), "files": list(self.files)}


def request_from_json(value: Mapping[str, Any]) -> CaptionRequest:
    """The request that `to_json` made.

    Raises:
        ConfigError: a value is missing, unknown or wrong.
    """
    known = {field.name for field in fields(CaptionRequest)}
    unknown = sorted(set(value) - known)
    if unknown or "dataset" not in value:
        what = f"unknown: {', '.join(unknown)}" if unknown else "no dataset is named"
        raise ConfigError(f"this is no captioning job ({what})", where="job.json", fix="hand the job in again.")
    return CaptionRequest(**{**value, "dataset": Path(value["dataset"]), "files": tuple(value.get("files", ()))})

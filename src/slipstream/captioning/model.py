"""A vision-language model of transformers: any with a processor, a chat template and pictures in its messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipstream.core.errors import DeviceError, ModelError
from slipstream.core.quiet import quiet_imports

if TYPE_CHECKING:
    import torch
    from PIL import Image

LONGEST_SIDE = 1024
"""Pictures are scaled down to this (pixels) before the model's own processor sees them: more costs time and memory."""


@dataclass(frozen=True)
class Answer:
    """What the model said of a picture; `cut` where it reached the most tokens."""

    text: str
    cut: bool


@dataclass(frozen=True)
class Captioner:
    """A loaded model with its processor. `about` says in one line where it runs and how."""

    model: Any
    processor: Any
    device: torch.device
    about: str

    def answers(self, pictures: Sequence[Image.Image], prompt: str, max_tokens: int) -> list[Answer]:
        """The answers to one prompt on each of the pictures, by greedy decoding.

        Raises:
            MemoryError: the batch does not fit.
        """
        import torch

        try:
            with torch.inference_mode():
                return self._generate(pictures, prompt, max_tokens)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(str(error)) from error

    def _generate(self, pictures: Sequence[Image.Image], prompt: str, max_tokens: int) -> list[Answer]:
        asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
        text = self.processor.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        inputs = self.processor(
            text=[text] * len(pictures), images=[[reduced(one)] for one in pictures], padding=True, return_tensors="pt"
        ).to(self.device)
        for name, value in inputs.items():
            if value.is_floating_point():
                inputs[name] = value.to(self.model.dtype)
        tokens = self.model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
        fresh = tokens[:, inputs["input_ids"].shape[1] :]
        texts = self.processor.batch_decode(fresh, skip_special_tokens=True)
        ends = _end_tokens(self.model)
        cut = [len(row) >= max_tokens and not ends.intersection(row.tolist()) for row in fresh]
        return [Answer(text, was_cut) for text, was_cut in zip(texts, cut, strict=True)]


def _end_tokens(model: Any) -> set[int]:
    found = model.generation_config.eos_token_id
    return set(found) if isinstance(found, list) else {found}


def reduced(picture: Image.Image) -> Image.Image:
    """The picture at no more than `LONGEST_SIDE` pixels on its longer side."""
    from PIL import Image

    if max(picture.size) <= LONGEST_SIDE:
        return picture
    copy = picture.copy()
    copy.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return copy


def load_captioner(name: str, device: str, dtype: str) -> Captioner:
    """Load the model; it is downloaded where it is not on this machine.

    Raises:
        DeviceError: there is no such device.
        ModelError: there is no such model, it is none that reads pictures, or a package that it needs is missing.
    """
    with quiet_imports():
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

    place = choose_device(device)
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}.get(dtype)
    if kind is None:
        half = torch.bfloat16 if place.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float16
        kind = half if place.type == "cuda" else torch.float32
    source, revision = (name, None) if Path(name).is_dir() else _parted(name)
    more = {} if revision is None else {"revision": revision}
    try:
        with quiet_imports():
            processor = AutoProcessor.from_pretrained(source, **more)
            model = AutoModelForImageTextToText.from_pretrained(source, dtype=kind, **more)
    except ImportError as error:
        raise ModelError(
            f"this model's processor needs a package that is not installed: {_first_line(error)}", where=name,
            fix="pip install the package it names (torchvision for those of Qwen), or choose another model.",
        ) from error  # fmt: skip
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"this model cannot be loaded as a vision-language model: {_first_line(error)}", where=name,
            fix="give the hub id or folder of an image-text-to-text model of transformers; a gated one needs a login.",
        ) from error  # fmt: skip
    _require_chat(processor, name)
    model.eval().to(place)
    return Captioner(model, processor, place, f"{name} on {place} in {str(kind).removeprefix('torch.')}")


def _require_chat(processor: Any, name: str) -> None:
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None or not (getattr(processor, "chat_template", None) or tokenizer.chat_template):
        raise ModelError(
            "this model has no chat template, so it cannot be asked for a caption", where=name,
            fix="choose an instruction-tuned one (its name often ends in -Instruct).",
        )  # fmt: skip
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"  # answers begin where prompts end


def choose_device(asked: str) -> torch.device:
    """The device; `auto` is the first GPU, else the processor.

    Raises:
        DeviceError: there is no such device.
    """
    import torch

    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(asked)
    except RuntimeError as error:
        raise DeviceError(f"got {asked!r}, expected auto, cpu, cuda or cuda:N", where="device") from error
    if found.type == "cuda" and (not torch.cuda.is_available() or (found.index or 0) >= torch.cuda.device_count()):
        raise DeviceError(f"there is no {asked} here", where="device", fix="use auto, or see `slipstream doctor`.")
    return found


def _parted(name: str) -> tuple[str, str | None]:
    source, _, revision = name.partition("@")
    return source, revision or None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__

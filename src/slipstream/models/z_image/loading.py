"""Loading the parts of a Z-Image model from resolved folders, frozen and in evaluation mode."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from slipstream.core.errors import ModelError
from slipstream.core.quiet import quiet_imports
from slipstream.flow.shift import resolution_shift


def load_transformer(folder: Path, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The `ZImageTransformer2DModel` of a folder.

    Raises:
        ModelError: the folder holds another model, or its weights do not fit its config.
    """
    with quiet_imports():
        from diffusers import ZImageTransformer2DModel
    config = _config(folder)
    if config.get("_class_name") not in (None, "ZImageTransformer2DModel"):
        raise ModelError(
            f"this is a {config['_class_name']}, not a Z-Image transformer", where=str(folder),
            fix="give a Z-Image model (ZImageTransformer2DModel) as model.name_or_path.",
        )  # fmt: skip
    return _frozen(_load(ZImageTransformer2DModel, folder, dtype), device)


def load_vae(folder: Path, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The `AutoencoderKL` of a folder."""
    with quiet_imports():
        from diffusers import AutoencoderKL
    return _frozen(_load(AutoencoderKL, folder, dtype), device)


def load_text_encoder(folder: Path, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The Qwen3 text encoder of a folder (without a language-model head)."""
    with quiet_imports():
        from transformers import AutoModel
    return _frozen(_load(AutoModel, folder, dtype), device)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder."""
    with quiet_imports():
        from transformers import AutoTokenizer
    return AutoTokenizer.from_pretrained(folder)


@dataclass(frozen=True)
class SamplingShift:
    """How the scheduler shifts sigmas: a static shift, or one that grows with the number of image tokens (Flux's mu).

    Source: FlowMatchEulerDiscreteScheduler of diffusers 0.42 and `calculate_shift` of its Z-Image pipeline.
    """

    static: float
    dynamic: bool = False
    base_shift: float = 0.5
    max_shift: float = 1.15
    base_tokens: int = 256
    max_tokens: int = 4096

    def at(self, image_tokens: int) -> float:
        """The shift s in sigma' = s * sigma / (1 + (s - 1) * sigma) for an image of this many tokens."""
        if not self.dynamic:
            return self.static
        return resolution_shift(
            image_tokens,
            base_shift=self.base_shift,
            max_shift=self.max_shift,
            base_tokens=self.base_tokens,
            max_tokens=self.max_tokens,
        )


def load_sampling_shift(folder: Path) -> SamplingShift:
    """Read the shift from a scheduler folder."""
    config = _config(folder, "scheduler_config.json")
    return SamplingShift(
        static=float(config.get("shift", 1.0)),
        dynamic=bool(config.get("use_dynamic_shifting", False)),
        base_shift=float(config.get("base_shift") or 0.5),
        max_shift=float(config.get("max_shift") or 1.15),
        base_tokens=int(config.get("base_image_seq_len") or 256),
        max_tokens=int(config.get("max_image_seq_len") or 4096),
    )


def _config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    try:
        return dict(json.loads((folder / name).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {name}: {error}", where=str(folder), fix="download the model again.") from error


def _load(model_class: Any, folder: Path, dtype: torch.dtype) -> nn.Module:
    with quiet_imports():
        try:
            return model_class.from_pretrained(folder, torch_dtype=dtype, local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(
                f"cannot load {model_class.__name__}: {error}", where=str(folder),
                fix="the folder must hold config.json and matching safetensors; download it again.",
            ) from error  # fmt: skip


def _frozen(model: nn.Module, device: torch.device) -> nn.Module:
    return model.to(device).requires_grad_(False).eval()

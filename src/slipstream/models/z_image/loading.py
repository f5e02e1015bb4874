"""Loading the parts of a Z-Image model from resolved folders, frozen and in evaluation mode.

Transformer and text encoder are filled tensor by tensor (`precision.placing`), so that a quantized model never exists
whole in bf16, and no model exists twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from slipstream.core.errors import ModelError
from slipstream.core.quiet import quiet_imports
from slipstream.flow.shift import resolution_shift
from slipstream.precision.placing import Placement, place_weights, read_safetensors

BLOCKS = ("layers", "noise_refiner", "context_refiner")
"""The transformer's stacks of blocks: nearly all of its weights."""

NOT_NEEDED = ("lm_head.weight",)
"""Weights of a language model that encoding a text has no use for."""


def may_be_quantized(linear: str) -> bool:
    """Whether a linear of the transformer may be kept in 8 or 4 bits: attention and feed-forward of the blocks.

    Embedders, adaLN and the final layer stay as they are: small, and every token depends on them.
    """
    return linear.startswith(tuple(f"{stack}." for stack in BLOCKS)) and "adaLN" not in linear


def load_transformer(folder: Path, device: torch.device, dtype: torch.dtype, scheme: str | None = None) -> nn.Module:
    """The `ZImageTransformer2DModel` of a folder, its blocks' linears packed by `scheme` (see `precision.schemes`).

    Raises:
        ModelError: the folder holds another model, or its weights do not fit its config.
    """
    with quiet_imports():
        from diffusers import ZImageTransformer2DModel
    config = read_config(folder)
    if config.get("_class_name") not in (None, "ZImageTransformer2DModel"):
        raise ModelError(
            f"this is a {config['_class_name']}, not a Z-Image transformer", where=str(folder),
            fix="give a Z-Image model (ZImageTransformer2DModel) as model.name_or_path.",
        )  # fmt: skip
    with _load_errors("ZImageTransformer2DModel", folder):
        with torch.device("meta"):
            model = ZImageTransformer2DModel.from_config(config)
        weights = read_safetensors(weight_files(folder))
        return _filled(model, weights, Placement(device, dtype, scheme, may_be_quantized))


def load_vae(folder: Path, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The `AutoencoderKL` of a folder."""
    with quiet_imports():
        from diffusers import AutoencoderKL
    with _load_errors("AutoencoderKL", folder):
        vae = AutoencoderKL.from_pretrained(folder, torch_dtype=dtype, local_files_only=True)
    return _frozen(vae, device)


def load_text_encoder(folder: Path, device: torch.device, dtype: torch.dtype, scheme: str | None = None) -> nn.Module:
    """The Qwen3 text encoder of a folder (without a language-model head), its layers' linears packed by `scheme`."""
    with quiet_imports():
        from accelerate import init_empty_weights
        from transformers import AutoConfig, AutoModel
    with _load_errors("text encoder", folder):
        with init_empty_weights(include_buffers=False):  # rotary tables are made, not read
            model = AutoModel.from_config(AutoConfig.from_pretrained(folder, local_files_only=True))
        weights = map(_encoder_weight, read_safetensors(weight_files(folder)))
        return _filled(model, weights, Placement(device, dtype, scheme, lambda name: name.startswith("layers.")))


def _encoder_weight(weight: tuple[str, Tensor]) -> tuple[str, Tensor]:
    """A weight of a language model under its name in the encoder inside it."""
    return weight[0].removeprefix("model."), weight[1]


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
    config = read_config(folder, "scheduler_config.json")
    return SamplingShift(
        static=float(config.get("shift", 1.0)),
        dynamic=bool(config.get("use_dynamic_shifting", False)),
        base_shift=float(config.get("base_shift") or 0.5),
        max_shift=float(config.get("max_shift") or 1.15),
        base_tokens=int(config.get("base_image_seq_len") or 256),
        max_tokens=int(config.get("max_image_seq_len") or 4096),
    )


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
        raise FileNotFoundError("no safetensors file in it")
    if len(files) > 1:
        raise ValueError(f"{len(files)} safetensors files and no index that says how they belong together")
    return files


def _filled(model: nn.Module, weights: Iterable[tuple[str, Tensor]], placement: Placement) -> nn.Module:
    unknown = [key for key in place_weights(model, weights, placement) if key not in NOT_NEEDED]
    if unknown:
        shown = ", ".join(unknown[:3]) + (", ..." if unknown[3:] else "")
        raise ValueError(f"{len(unknown)} weights have no place in this model: {shown}")
    return model.requires_grad_(False).eval()


@contextmanager
def _load_errors(what: str, folder: Path) -> Iterator[None]:
    """Whatever a library raises over a folder becomes a `ModelError` that names it."""
    with quiet_imports():
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ModelError(
                f"cannot load the {what}: {error}", where=str(folder),
                fix="the folder must hold config.json and matching safetensors; download it again.",
            ) from error  # fmt: skip


def _frozen(model: nn.Module, device: torch.device) -> nn.Module:
    return model.to(device).requires_grad_(False).eval()

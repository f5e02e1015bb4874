"""Loading the parts of a Z-Image model from resolved folders or a single file, frozen and in evaluation mode.

Transformer and text encoder are filled tensor by tensor: read ahead (`precision.reading`), split or made dense where
the file keeps them otherwise, packed or cast, and placed (`precision.placing`). So a quantized model never exists whole
in bf16, and no model exists twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from slipstream.core.errors import ModelError
from slipstream.core.quiet import quiet_imports
from slipstream.flow.shift import resolution_shift
from slipstream.memory.pinned import Offload
from slipstream.models.z_image.model_folder import read_config, weight_files, weight_headers
from slipstream.models.z_image.transformer_file import FLOAT8, StoredTransformer, open_transformer
from slipstream.precision.placing import Placement, Watch, Weight, place_weights
from slipstream.precision.reading import Tick, pieces_of, read_ahead, read_piece
from slipstream.precision.schemes import FLOAT8 as FLOAT8_DTYPE
from slipstream.precision.schemes import FLOAT8_SCHEME, kept_float8

__all__ = [
    "SamplingShift", "load_sampling_shift", "load_text_encoder", "load_tokenizer", "load_transformer", "load_vae",
    "may_be_quantized", "read_config", "weight_files",
]  # fmt: skip

BLOCKS = ("layers", "noise_refiner", "context_refiner")
"""The transformer's stacks of blocks: nearly all of its weights."""

NOT_NEEDED = ("lm_head.weight",)
"""Weights of a language model that encoding a text has no use for."""


def may_be_quantized(linear: str) -> bool:
    """Whether a linear of the transformer may be kept in 8 or 4 bits: attention and feed-forward of the blocks.

    Embedders, adaLN and the final layer stay as they are: small, and every token depends on them.
    """
    return linear.startswith(tuple(f"{stack}." for stack in BLOCKS)) and "adaLN" not in linear


def load_transformer(
    place: Path, device: torch.device, dtype: torch.dtype, scheme: str | None = None, tick: Tick | None = None,
    watch: Watch | None = None, offload: Offload | None = None,
) -> nn.Module:  # fmt: skip
    """The `ZImageTransformer2DModel` of a folder or a single file, its blocks' linears packed by `scheme`.

    `watch` sees every dense weight that is packed, `offload` says which weights stay in host memory
    (`precision.placing`).

    Raises:
        ModelError: it is another model, or its weights do not fit its config.
    """
    with quiet_imports():
        from diffusers import ZImageTransformer2DModel
    stored = open_transformer(place)
    with _load_errors("ZImageTransformer2DModel", place):
        with torch.device("meta"):
            model = ZImageTransformer2DModel.from_config(stored.config)
        _require_fit(model, stored)
        placement = Placement(device, dtype, scheme, may_be_quantized, offload=offload)
        placement = placement if watch is None else replace(placement, watch=watch)
        return _filled(model, transformer_weights(stored, placement, tick), placement)


def _require_fit(model: nn.Module, stored: StoredTransformer) -> None:
    """Compare names and shapes before gigabytes are read.

    Raises:
        ValueError: a weight is missing, unknown, or of another shape; the message names some.
    """
    wanted = {key: tuple(value.shape) for key, value in (*model.named_parameters(), *model.named_buffers())}
    found = {name: weight.shape for weight in stored.weights for name in weight.names}
    for key, shape in found.items():
        if key in wanted and shape != wanted[key]:
            raise ValueError(f"{key} has the shape {shape}, expected {wanted[key]}")
    if missing := [key for key, value in model.named_parameters() if key not in found and value.is_meta]:
        raise ValueError(f"{len(missing)} weights are missing: {_some(missing)}")
    if unknown := [key for key in found if key not in wanted]:
        raise ValueError(f"{len(unknown)} weights have no place in this model: {_some(unknown)}")


def transformer_weights(
    stored: StoredTransformer, placement: Placement, tick: Tick | None = None
) -> Iterator[tuple[str, Weight]]:
    """(name in the model, weight) of every stored tensor, read once: fused ones split, float8 ones made dense.

    Float8 codes are kept as they are where the linear is to be packed in float8 anyway.
    """
    scales = {weight: read_piece(weight.scale) for weight in stored.weights if weight.scale is not None}
    tensors = read_ahead([w.piece for w in stored.weights], pinned=placement.device.type == "cuda", tick=tick)
    for weight, tensor in zip(stored.weights, tensors, strict=True):
        scale = scales.get(weight)
        parts = tensor.chunk(len(weight.names)) if len(weight.names) > 1 else (tensor,)
        per_row = scale is not None and scale.numel() > 1
        for number, (name, part) in enumerate(zip(weight.names, parts, strict=True)):
            mine = scale.flatten().chunk(len(parts))[number] if scale is not None and per_row else scale
            yield name, part if weight.piece.stored.dtype not in FLOAT8 else _from_float8(name, part, mine, placement)
        del tensor, parts, part


def _from_float8(name: str, codes: torch.Tensor, scale: torch.Tensor | None, placement: Placement) -> Weight:
    codes = codes.to(placement.device)
    module, _, leaf = name.rpartition(".")
    packed = placement.scheme == FLOAT8_SCHEME and leaf == "weight" and placement.chosen(module)
    if packed and codes.dtype == FLOAT8_DTYPE:
        return kept_float8(codes, torch.ones(1) if scale is None else scale)
    if scale is None:
        return codes.float()
    factor = scale.to(placement.device).float().flatten()
    return codes.float().mul_(factor if factor.numel() == 1 else factor.unsqueeze(1))


def load_vae(folder: Path, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The `AutoencoderKL` of a folder."""
    with quiet_imports():
        from diffusers import AutoencoderKL
    with _load_errors("AutoencoderKL", folder):
        vae = AutoencoderKL.from_pretrained(folder, torch_dtype=dtype, local_files_only=True)
    return _frozen(vae, device)


def load_text_encoder(
    folder: Path, device: torch.device, dtype: torch.dtype, scheme: str | None = None, tick: Tick | None = None
) -> nn.Module:
    """The Qwen3 text encoder of a folder (without a language-model head), its layers' linears packed by `scheme`."""
    with quiet_imports():
        from accelerate import init_empty_weights
        from transformers import AutoConfig, AutoModel
    with _load_errors("text encoder", folder):
        with init_empty_weights(include_buffers=False):  # rotary tables are made, not read
            model = AutoModel.from_config(AutoConfig.from_pretrained(folder, local_files_only=True))
        pieces = [piece for piece in pieces_of(weight_headers(folder)) if piece.key not in NOT_NEEDED]
        names = [piece.key.removeprefix("model.") for piece in pieces]  # of a language model: the encoder inside it
        weights = zip(names, read_ahead(pieces, pinned=device.type == "cuda", tick=tick), strict=True)
        return _filled(model, weights, Placement(device, dtype, scheme, lambda name: name.startswith("layers.")))


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder."""
    with quiet_imports():
        from transformers import AutoTokenizer
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


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


def _filled(model: nn.Module, weights: Iterable[tuple[str, Weight]], placement: Placement) -> nn.Module:
    if unknown := place_weights(model, weights, placement):
        raise ValueError(f"{len(unknown)} weights have no place in this model: {_some(unknown)}")
    return model.requires_grad_(False).eval()


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if names[3:] else "")


@contextmanager
def _load_errors(what: str, place: Path) -> Iterator[None]:
    """Whatever a library raises over a folder or a file becomes a `ModelError` that names it."""
    with quiet_imports():
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ModelError(
                f"cannot load the {what}: {error}", where=str(place),
                fix="it must hold all weights of one Z-Image model (a folder also its config.json); download it again.",
            ) from error  # fmt: skip


def _frozen(model: nn.Module, device: torch.device) -> nn.Module:
    return model.to(device).requires_grad_(False).eval()

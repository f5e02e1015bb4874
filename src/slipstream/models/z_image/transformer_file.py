"""A transformer on the disk: which stored tensor is which weight of `ZImageTransformer2DModel`, and in what form.

Read are diffusers' names and the original ones, which ComfyUI kept: `attention.qkv` (rows of q, k, v), `attention.out`,
`q_norm` and `k_norm`, `x_embedder`, `final_layer`. Float8 weights may have a scale beside them, one number a tensor or
one a row: `weight_scale` (ComfyUI's present format) or `scale_weight` (the older one, with a `scaled_fp8` marker);
scales of activations belong to drawing and are left aside. Sources: diffusers 0.42 with its
`convert_z_image_transformer_checkpoint_to_diffusers`; QUANTIZATION.md and `convert_old_quants` of ComfyUI.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipstream.core.errors import ModelError
from slipstream.core.tensor_file import TensorFile
from slipstream.models.z_image.contents import require_transformer
from slipstream.models.z_image.model_folder import read_config, weight_headers
from slipstream.precision.reading import Piece, pieces_of

CLASS_NAME = "ZImageTransformer2DModel"
MODULE_ALIASES = {
    "attention.qkv": ("attention.to_q", "attention.to_k", "attention.to_v"),
    "attention.out": ("attention.to_out.0",),
}
"""Linears as the original layout and ComfyUI name them -> as diffusers does; `qkv` holds rows of q, k and v."""

_NORMS = {"attention.q_norm": "attention.norm_q", "attention.k_norm": "attention.norm_k"}
_EMBEDDERS = {"x_embedder": "all_x_embedder.2-1", "final_layer": "all_final_layer.2-1"}
_SCALES = ("weight_scale", "scale_weight")
_ASIDE = ("input_scale", "scale_input", "comfy_quant")
_UNUSED = ("norm_final.weight", "scaled_fp8")
_OTHER_PARTS = ("text_encoders.", "vae.", "first_stage_model.", "cond_stage_model.")
FLOAT8 = ("F8_E4M3", "F8_E5M2")
_PLAIN = ("BF16", "F16", "F32", "F64")


@dataclass(frozen=True)
class StoredWeight:
    """One stored tensor: the model's names for it (several: its rows in this order), and its scale if it has one."""

    piece: Piece
    names: tuple[str, ...]
    scale: Piece | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of each of its parts."""
        first, *rest = self.piece.stored.shape or (1,)
        return (first // len(self.names), *rest) if len(self.names) > 1 else self.piece.stored.shape


@dataclass(frozen=True)
class StoredTransformer:
    """A transformer's settings and weights, found but not read."""

    place: Path
    config: dict[str, Any]
    weights: tuple[StoredWeight, ...]
    layout: str

    @property
    def num_bytes(self) -> int:
        """Bytes of its weights on the disk."""
        return sum(weight.piece.stored.num_bytes for weight in self.weights)

    @property
    def num_parameters(self) -> int:
        """Numbers in all weights."""
        return sum(math.prod(weight.piece.stored.shape) for weight in self.weights)

    @property
    def is_float8(self) -> bool:
        """Whether linears are kept in float8 in the file."""
        return any(weight.piece.stored.dtype in FLOAT8 for weight in self.weights)

    @property
    def keeps_codes(self) -> bool:
        """Whether its float8 codes are of the kind that `quantization.transformer: float8` keeps."""
        return all(weight.piece.stored.dtype != "F8_E5M2" for weight in self.weights)

    def describe(self) -> str:
        """Key layout and precision in a few words."""
        counts: dict[str, int] = {}
        for weight in self.weights:
            name = weight.piece.stored.dtype
            counts[name] = counts.get(name, 0) + weight.piece.stored.num_bytes
        packed = {name: size for name, size in counts.items() if name in FLOAT8}
        main = max(packed or counts, key=counts.__getitem__, default="BF16")
        precision = {"F8_E4M3": "float8 e4m3", "F8_E5M2": "float8 e5m2", "F16": "fp16", "F32": "fp32"}.get(main, "bf16")
        if main in FLOAT8:
            scaled = [weight.scale.stored.num_bytes for weight in self.weights if weight.scale is not None]
            how = "one scale a row" if scaled and max(scaled) > 4 else "one scale a tensor"
            precision += f", {how}" if scaled else ", no scales"
        return f"{self.layout} keys, {precision}, {self.num_bytes / 2**30:.2f} GiB"


def open_transformer(place: Path) -> StoredTransformer:
    """Look into a diffusers folder or a single file; reads headers alone.

    Raises:
        ModelError: it is another model, is cut off, or keeps its weights in a form that is not read.
    """
    if place.is_dir():
        config = read_config(place)
        if config.get("_class_name") not in (None, CLASS_NAME):
            raise ModelError(
                f"this is a {config['_class_name']}, not a Z-Image transformer", where=str(place),
                fix=f"give a Z-Image model ({CLASS_NAME}) as model.name_or_path.",
            )  # fmt: skip
        files = weight_headers(place)
        return StoredTransformer(place, config, _weights(files, "", place), "diffusers")
    files = weight_headers(place)
    prefix = require_transformer(files[0], str(place))
    weights = _weights(files, prefix, place)
    layout = "original" if any(".attention.qkv." in weight.piece.key for weight in weights) else "diffusers"
    return StoredTransformer(place, _inferred_config(weights, place), weights, layout)


def transformer_config(place: Path) -> dict[str, Any]:
    """The settings of a transformer: as its folder has them, or as the shapes in a single file tell.

    Raises:
        ModelError: as `open_transformer`.
    """
    return read_config(place) if place.is_dir() else open_transformer(place).config


def model_names(key: str) -> tuple[str, ...]:
    """The model's names for a stored one; a fused tensor has three."""
    module, dot, leaf = key.rpartition(".")
    head, _, rest = module.partition(".")
    if head in _EMBEDDERS:
        return (".".join(filter(None, (_EMBEDDERS[head], rest, leaf))),)
    for ending, names in {**MODULE_ALIASES, **{old: (new,) for old, new in _NORMS.items()}}.items():
        if module.endswith(f".{ending}"):
            return tuple(f"{module.removesuffix(ending)}{name}{dot}{leaf}" for name in names)
    return (key,)


def _weights(files: list[TensorFile], prefix: str, place: Path) -> tuple[StoredWeight, ...]:
    plain: list[Piece] = []
    scales: dict[str, Piece] = {}
    for piece in pieces_of(files):
        name = piece.key.removeprefix(prefix)
        module, _, leaf = name.rpartition(".")
        if leaf in _SCALES:
            scales[module] = piece
        elif leaf not in _ASIDE and name not in _UNUSED and not (prefix and name.startswith(_OTHER_PARTS)):
            plain.append(piece)
    found = []
    for piece in plain:
        name = piece.key.removeprefix(prefix)
        module, _, leaf = name.rpartition(".")
        scale = scales.get(module) if leaf == "weight" and piece.stored.dtype in FLOAT8 else None
        weight = StoredWeight(piece, model_names(name), scale)
        _require_readable(weight, place)
        found.append(weight)
    return tuple(found)


def _require_readable(weight: StoredWeight, place: Path) -> None:
    """Refuse what is neither a plain number format nor float8 with a scale for the tensor or for each row."""
    stored, fix = weight.piece.stored, "give this model in bf16, fp16 or fp8; quantization.transformer packs it here."
    if stored.dtype not in (*_PLAIN, *FLOAT8):
        packed = f"{weight.piece.key} is stored as {stored.dtype}, expected bf16, fp16, fp32 or float8"
        raise ModelError(f"its weights are packed in a way that is not read here: {packed}", where=str(place), fix=fix)
    if len(weight.names) > 1 and stored.shape[0] % len(weight.names):
        raise ModelError(
            f"{weight.piece.key} has {stored.shape[0]} rows, expected those of {len(weight.names)} equal parts",
            where=str(place), fix="download the model again.",
        )  # fmt: skip
    if weight.scale is None:
        return
    rows, shape = stored.shape[0], weight.scale.stored.shape
    if weight.scale.stored.dtype not in _PLAIN or shape not in ((), (1,), (1, 1), (rows,), (rows, 1)):
        raise ModelError(
            f"{weight.scale.key} has the shape {shape} in {weight.scale.stored.dtype}, expected 1 number or 1 a row",
            where=str(place), fix=fix,
        )  # fmt: skip


def _inferred_config(weights: tuple[StoredWeight, ...], place: Path) -> dict[str, Any]:
    """The settings that the shapes tell; what they do not tell is the same in every Z-Image."""
    shapes: Mapping[str, tuple[int, ...]] = {name: weight.shape for weight in weights for name in weight.names}
    try:
        dim, patch = shapes["all_x_embedder.2-1.weight"]
        (head,) = shapes["layers.0.attention.norm_q.weight"]
        (features,) = shapes["cap_embedder.0.weight"]
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"a weight that tells the model's size is missing or has a strange shape: {error}", where=str(place),
            fix="download or export the file again.",
        ) from error  # fmt: skip
    heads = max(1, dim // head)
    return {
        "_class_name": CLASS_NAME, "all_patch_size": [2], "all_f_patch_size": [1], "in_channels": patch // 4,
        "dim": dim, "n_layers": _count(shapes, "layers"), "n_refiner_layers": _count(shapes, "noise_refiner"),
        "n_heads": heads,
        "n_kv_heads": heads, "norm_eps": 1e-5, "qk_norm": True, "cap_feat_dim": features, "rope_theta": 256.0,
        "t_scale": 1000.0, "axes_dims": [head // 4, head * 3 // 8, head * 3 // 8], "axes_lens": [1536, 512, 512],
    }  # fmt: skip


def _count(shapes: Mapping[str, tuple[int, ...]], stack: str) -> int:
    return 1 + max((int(name.split(".")[1]) for name in shapes if name.startswith(f"{stack}.")), default=-1)

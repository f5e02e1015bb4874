"""The tiny transformer written as a single file in the layouts and precisions that are found in the wild."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from slipstream.models.z_image.resolve import TINY_ROOT

Tensors = dict[str, Tensor]
LARGEST = 448.0
TO_ORIGINAL = {
    "all_x_embedder.2-1.": "x_embedder.", "all_final_layer.2-1.": "final_layer.",
    ".attention.to_out.0.": ".attention.out.", ".attention.norm_q.": ".attention.q_norm.",
    ".attention.norm_k.": ".attention.k_norm.",
}  # fmt: skip


def tiny_tensors(name: str = "turbo") -> Tensors:
    """The weights of a packaged transformer under diffusers' names."""
    return load_file(TINY_ROOT / name / "transformer/diffusion_pytorch_model.safetensors")


def original(tensors: Tensors, prefix: str = "") -> Tensors:
    """The same weights under the original names, which ComfyUI uses: q, k and v in one."""
    found: Tensors = {}
    for key, tensor in tensors.items():
        if ".attention.to_k." in key or ".attention.to_v." in key:
            continue
        if ".attention.to_q." in key:
            parts = [tensors[key.replace("to_q", f"to_{letter}")] for letter in "qkv"]
            key, tensor = key.replace("to_q", "qkv"), torch.cat(parts)
        for mine, theirs in TO_ORIGINAL.items():
            key = key.replace(mine, theirs)
        found[prefix + key] = tensor
    return found


def cast(tensors: Tensors, dtype: torch.dtype) -> Tensors:
    """All weights in another precision."""
    return {key: tensor.to(dtype) for key, tensor in tensors.items()}


def in_float8(
    tensors: Tensors, *, scale_name: str | None = "weight_scale", per_row: bool = False, extra: Callable[[str], Tensors]
    = lambda module: {}, dtype: torch.dtype = torch.float8_e4m3fn, chosen: str = "layers.",
) -> Tensors:  # fmt: skip
    """Linears of the blocks in float8 with a scale beside each; `scale_name` None: plain casts."""
    found: Tensors = {}
    for key, tensor in tensors.items():
        module, _, leaf = key.rpartition(".")
        if leaf != "weight" or tensor.ndim != 2 or chosen not in key or "adaLN" in key:
            found[key] = tensor
            continue
        weight = tensor.float()
        if scale_name is None:
            found[key] = weight.to(dtype)
            continue
        largest = weight.abs().amax(dim=1, keepdim=True) if per_row else weight.abs().max()
        scale = largest / torch.finfo(dtype).max
        found[key] = (weight / scale).to(dtype)
        found[f"{module}.{scale_name}"] = scale
        found |= extra(module)
    return found


def marked(module: str) -> Tensors:
    """What ComfyUI's present format puts beside a packed linear."""
    text = json.dumps({"format": "float8_e4m3fn"}).encode()
    return {f"{module}.comfy_quant": torch.tensor(list(text), dtype=torch.uint8),
            f"{module}.input_scale": torch.tensor(0.5)}  # fmt: skip


def older(module: str) -> Tensors:
    """What its older format puts there."""
    return {f"{module}.scale_input": torch.tensor(1.0)}


def write(path: Path, tensors: Tensors) -> Path:
    """A file of these weights."""
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
    return path

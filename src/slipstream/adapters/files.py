"""LoRA files: `diffusion_model.<module>.lora_A|lora_B.weight`, the keys that ComfyUI and diffusers both read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from slipstream.adapters.branches import BranchSet, stored
from slipstream.core.atomic import atomic_path
from slipstream.core.errors import AdapterError

PREFIX = "diffusion_model."
_PREFIXES = (PREFIX, "transformer.")
_DOWN = (".lora_A.weight", ".lora_down.weight")
_UP = {".lora_A.weight": ".lora_B.weight", ".lora_down.weight": ".lora_up.weight"}


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file in memory: per module (A (rank, in), B (out, rank)) with any alpha already in B."""

    pairs: dict[str, tuple[Tensor, Tensor]]
    metadata: dict[str, str]

    @property
    def num_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(t.numel() * t.element_size() for pair in self.pairs.values() for t in pair)


def save_lora(path: Path, branches: BranchSet, dtype: torch.dtype, metadata: Mapping[str, str]) -> None:
    """Write the adapter atomically; alpha / rank is multiplied into B, so the file needs no alpha.

    Raises:
        DiskFullError: no space left; a file already at `path` survives.
    """
    tensors: dict[str, Tensor] = {}
    for name, branch in branches.branches.items():
        for key, tensor in stored(branch, dtype).items():
            tensors[f"{PREFIX}{name}.{key}"] = tensor.cpu().contiguous()
    header, data = _split(save(tensors, metadata={"format": "pt", **metadata}))
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        handle.write(header)
        handle.write(data)


def _split(content: bytes) -> tuple[bytes, memoryview]:
    """(header, tensor bytes) of a safetensors file, with sorted metadata.

    The library writes metadata in random order; sorted, equal LoRAs are equal files, and can be compared by their hash.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    entries = json.loads(content[8:end])
    entries = {"__metadata__": dict(sorted(entries.pop("__metadata__").items())), **entries}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, memoryview(content)[end:]


def load_lora(path: Path) -> LoraFile:
    """Read a LoRA file with `diffusion_model.` or `transformer.` keys (lora_A/lora_B or lora_down/lora_up, alpha).

    Raises:
        AdapterError: the file is missing, is no safetensors file, or holds other keys.
    """
    if not path.is_file():
        raise AdapterError("there is no such file", where=str(path), fix="give the path of a .safetensors LoRA file.")
    try:
        with safe_open(path, framework="pt") as handle:
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 (no mapping)
            metadata = dict(handle.metadata() or {})
    except SafetensorError as error:
        raise AdapterError(
            f"not a readable safetensors file ({error})", where=str(path), fix="download or export it again."
        ) from error
    return LoraFile(_pairs(tensors, path), metadata)


def _pairs(tensors: dict[str, Tensor], path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Group a file's tensors by module and put alpha into B."""
    left = dict(tensors)
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    for key in tensors:
        down_suffix = next((suffix for suffix in _DOWN if key.endswith(suffix)), None)
        if down_suffix is None:
            continue
        stem = key.removesuffix(down_suffix)
        a, b = left.pop(key), left.pop(stem + _UP[down_suffix], None)
        if b is None:
            raise AdapterError(f"{key} has no partner {stem + _UP[down_suffix]}", where=str(path))
        alpha = left.pop(f"{stem}.alpha", None)
        scale = 1.0 if alpha is None else float(alpha) / a.shape[0]
        pairs[_module_name(stem)] = (a, b if scale == 1.0 else b * scale)
    if left or not pairs:
        sample = ", ".join(sorted(left)[:3]) or "no tensors at all"
        raise AdapterError(
            f"these keys are not a LoRA in a layout known here: {sample}",
            where=str(path),
            fix="expected keys like `diffusion_model.layers.0.attention.to_q.lora_A.weight`.",
        )
    return pairs


def _module_name(stem: str) -> str:
    for prefix in _PREFIXES:
        if stem.startswith(prefix):
            return stem.removeprefix(prefix)
    return stem

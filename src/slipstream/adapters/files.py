"""Adapter files: `diffusion_model.<module>.<tensor>`, the keys that ComfyUI reads for every kind of branch.

A plain LoRA has `lora_A.weight` and `lora_B.weight`, which diffusers reads too. `docs/adapters.md` says who reads what.
"""

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
from slipstream.adapters.dialects import read_modules
from slipstream.adapters.kinds import kind_of
from slipstream.core.atomic import atomic_path
from slipstream.core.errors import AdapterError

PREFIX = "diffusion_model."


@dataclass(frozen=True)
class LoraFile:
    """An adapter file in memory: per module its tensors by key (`lora_A.weight`), any alpha already in them.

    Modules bear the file's own names without prefix; `inject_weights` finds them in a model.
    """

    modules: dict[str, dict[str, Tensor]]
    metadata: dict[str, str]

    @property
    def pairs(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Per module of a plain LoRA (A (rank, in), B (out, rank)); modules of other kinds are left out."""
        return {
            name: (tensors["lora_A.weight"], tensors["lora_B.weight"])
            for name, tensors in self.modules.items()
            if kind_of(tensors) == "lora"
        }

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of branches in the file, most files have one."""
        return tuple(dict.fromkeys(kind_of(tensors) or "" for tensors in self.modules.values()))

    @property
    def num_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(t.numel() * t.element_size() for tensors in self.modules.values() for t in tensors.values())


def save_lora(path: Path, branches: BranchSet, dtype: torch.dtype, metadata: Mapping[str, str]) -> None:
    """Write the adapter atomically; alpha is multiplied into the tensors, so the file needs none.

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
    """Read an adapter file of any kind, in any of the spellings that `dialects.py` knows.

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
    return LoraFile(read_modules(tensors, str(path)), metadata)

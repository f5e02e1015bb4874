"""The header of a safetensors file, read without any library: names, types, shapes and places of its tensors.

A file is 8 bytes (the header's length N, little-endian), N bytes of JSON, then the tensors' bytes end to end.
Source: the format's description in huggingface/safetensors. Everything that can be wrong with a download is seen here,
before a single weight is read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipstream.core.errors import ModelError

ITEM_BYTES: Mapping[str, int] = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
PICKLED = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
_LONGEST_HEADER = 100 << 20
_AGAIN = "download it again: what is here is not whole."


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: its type as the format spells it, its shape, and where its bytes lie."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    num_bytes: int


@dataclass(frozen=True)
class TensorFile:
    """A file's tensors in the order in which they lie, and its metadata."""

    path: Path
    tensors: Mapping[str, StoredTensor]
    metadata: Mapping[str, str]


def read_header(path: Path) -> TensorFile:
    """What a safetensors file holds.

    Raises:
        ModelError: there is no such file, it is of another format, or it is cut off; the message says which.
    """
    if not path.is_file():
        raise ModelError("there is no such file", where=str(path), fix="check the path.")
    try:
        with path.open("rb") as handle:
            start = handle.read(512)
            length = int.from_bytes(start[:8], "little")
            if (problem := _other_format(path, start)) is not None:
                raise problem
            text = start[8 : 8 + length] + handle.read(max(0, length - (len(start) - 8)))
    except OSError as error:
        raise ModelError(f"cannot be read: {error}", where=str(path), fix="check the disk and the rights.") from error
    size = path.stat().st_size
    if len(text) < length:
        raise ModelError(f"cut off in its header, at {size:,} bytes", where=str(path), fix=_AGAIN)
    return _parsed(path, text, 8 + length, size)


def _parsed(path: Path, text: bytes, data: int, size: int) -> TensorFile:
    try:
        entries = json.loads(text)
        metadata = dict(entries.pop("__metadata__", None) or {})
        tensors = {
            name: StoredTensor(str(entry["dtype"]), tuple(entry["shape"]), data + first, last - first)
            for name, entry in entries.items()
            for first, last in [entry["data_offsets"]]
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"its header cannot be read ({type(error).__name__})", where=str(path), fix=_AGAIN) from error
    for name, tensor in tensors.items():
        wanted = math.prod(tensor.shape) * ITEM_BYTES.get(tensor.dtype, 0)
        if tensor.dtype in ITEM_BYTES and tensor.num_bytes != wanted:
            raise ModelError(f"{name} has {tensor.num_bytes} bytes, expected {wanted}", where=str(path), fix=_AGAIN)
    end = max((tensor.start + tensor.num_bytes for tensor in tensors.values()), default=data)
    if end != size:
        what = "cut off" if size < end else "longer than its header says"
        raise ModelError(f"{what}: {size:,} bytes, expected {end:,}", where=str(path), fix=_AGAIN)
    ordered = dict(sorted(tensors.items(), key=lambda item: item[1].start))
    return TensorFile(path, ordered, metadata)


def _pickled(start: bytes) -> bool:
    """Whether a file begins as pickles and their archives do; a safetensors header of 640 bytes begins like one too."""
    return start[:2] in (b"PK", b"\x80\x02", b"\x80\x04") and start[8:9] != b"{"


def _other_format(path: Path, start: bytes) -> ModelError | None:
    """Why these first bytes are no safetensors file, with the way out; None where they may be one."""
    head = start.lstrip().lower()
    if start[:4] == b"GGUF":
        what, fix = "a GGUF file, packed for drawing only", (
            "give the bf16 or fp8 .safetensors of this model, and set quantization.transformer if memory is short."
        )  # fmt: skip
    elif _pickled(start) or path.suffix.lower() in PICKLED:
        what, fix = "a pickle (.ckpt, .pt, .bin), which can run any program when it is opened", (
            "give a .safetensors of this model; such files are not opened."
        )  # fmt: skip
    elif start.startswith(b"version https://git-lfs"):
        what, fix = "a pointer of Git LFS, not the file itself", "run `git lfs pull` there, or use `hf download`."
    elif head.startswith((b"<!doctype", b"<html", b'{"error')):
        what, fix = "a web page saved under the name of a model", (
            "download it again, logged in (`hf auth login`), with `hf download`."
        )  # fmt: skip
    elif len(start) < 9 or not 2 <= int.from_bytes(start[:8], "little") <= _LONGEST_HEADER or start[8:9] != b"{":
        what, fix = "not a safetensors file" if start else "an empty file", _AGAIN
    else:
        return None
    return ModelError(f"this is {what}", where=str(path), fix=fix)

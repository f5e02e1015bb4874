"""A cache of tensors on disk. The key is what the tensor was made of, so a stale entry cannot be found."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from slipstream.core.atomic import atomic_path
from slipstream.core.errors import DataError
from slipstream.core.hashing import hash_text

_NAME = "tensor"
_SUFFIX = ".safetensors"
_LONGEST_HEADER = 4096
"""Headers here hold one tensor without metadata: about a hundred bytes."""


@dataclass(frozen=True)
class TensorCache:
    """Tensors as `root/kind/ab/abcdef....safetensors`; several runs may share one root.

    Files that were found whole are remembered by size and time, so that asking again costs no reading.
    """

    root: Path
    kind: str
    _whole: dict[str, tuple[int, int]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def path(self, key: str) -> Path:
        """The file of a key."""
        return self.root / self.kind / key[:2] / f"{key}{_SUFFIX}"

    def get(self, key: str) -> Tensor | None:
        """The tensor of a key, or None; a damaged file is removed and counts as missing.

        Raises:
            DataError: the file may not be read.
        """
        path = self.path(key)
        try:
            return load(path.read_bytes())[_NAME]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(path, error) from error
        except (SafetensorError, KeyError):
            path.unlink(missing_ok=True)
            return None

    def has(self, key: str) -> bool:
        """Whether a whole file lies there, seen from its header and length; a damaged one is removed.

        Raises:
            DataError: the file may not be read.
        """
        path = f"{self.root}/{self.kind}/{key[:2]}/{key}{_SUFFIX}"  # thousands of keys: a Path costs more than the stat
        try:
            facts = os.stat(path)  # noqa: PTH116
            state = (facts.st_size, facts.st_mtime_ns)
            if self._whole.get(key) == state:
                return True
            with open(path, "rb", buffering=0) as handle:  # noqa: PTH123
                whole = _is_whole(handle.read(_LONGEST_HEADER), facts.st_size)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unreadable(self.path(key), error) from error
        if whole:
            self._whole[key] = state
        else:
            self.path(key).unlink(missing_ok=True)
        return whole

    def missing(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that `has` denies; what no folder lists is not asked for one by one.

        Raises:
            DataError: the cache may not be read.
        """
        wanted = set(keys)
        listed = {name for folder in {key[:2] for key in wanted} for name in self._names(folder)}
        return {key for key in wanted if key not in listed or not self.has(key)}

    def _names(self, folder: str) -> list[str]:
        """The keys whose files a folder lists."""
        path = self.root / self.kind / folder
        try:
            with os.scandir(path) as files:
                return [file.name.removesuffix(_SUFFIX) for file in files]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(path, error) from error

    def put(self, key: str, tensor: Tensor) -> None:
        """Store a tensor, atomically; not flushed, since a lost entry is made again.

        Raises:
            DiskFullError: no space left.
            DataError: the cache folder cannot be made.
            RunError: a file in it cannot be written.
        """
        path = self.path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"the cache folder cannot be written ({error.strerror or error})", where=str(path.parent),
                fix="give another one: advanced.cache_dir in the config, or the variable SLIPSTREAM_CACHE.",
            ) from error  # fmt: skip
        with atomic_path(path, durable=False) as temporary:
            save_file({_NAME: tensor.detach().cpu().contiguous()}, temporary)


def _is_whole(start: bytes, size: int) -> bool:
    """Whether a file of that size that starts so is a whole one of ours: header and length agree."""
    try:
        (length,) = struct.unpack("<Q", start[:8])
        header = json.loads(start[8 : 8 + length])
        return bool(list(header) == [_NAME] and size == 8 + length + header[_NAME]["data_offsets"][1])
    except (struct.error, ValueError, TypeError, KeyError, IndexError):
        return False


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"the cache cannot be read ({error.strerror or error})",
        where=str(path), fix="check its permissions, or set advanced.cache_dir or SLIPSTREAM_CACHE.",
    )  # fmt: skip


def latent_key(content_hash: str, transform_identity: str, encoder_identity: str) -> str:
    """Key of a picture's latents: its bytes, what was done to its pixels, and who encoded them."""
    return hash_text("latent", content_hash, transform_identity, encoder_identity)


def text_key(caption: str, encoder_identity: str) -> str:
    """Key of a caption's features: its text and who encoded it."""
    return hash_text("text", caption, encoder_identity)

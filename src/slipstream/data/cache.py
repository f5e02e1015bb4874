"""A cache of tensors on disk. The key is what the tensor was made of, so a stale entry cannot be found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save_file
from torch import Tensor

from slipstream.core.atomic import atomic_path
from slipstream.core.errors import DataError
from slipstream.core.hashing import hash_text

_NAME = "tensor"


@dataclass(frozen=True)
class TensorCache:
    """Tensors as `root/kind/ab/abcdef....safetensors`; several runs may share one root."""

    root: Path
    kind: str

    def path(self, key: str) -> Path:
        """The file of a key."""
        return self.root / self.kind / key[:2] / f"{key}.safetensors"

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
        path = self.path(key)
        try:
            with safe_open(path, framework="pt") as handle:
                whole = list(handle.keys()) == [_NAME]
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unreadable(path, error) from error
        except SafetensorError:
            whole = False
        if not whole:
            path.unlink(missing_ok=True)
        return whole

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

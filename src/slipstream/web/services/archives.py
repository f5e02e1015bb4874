"""Zip files that somebody sent: what is in them, refused as a whole where anything in it is a trick."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO

from slipstream.web.problems import RefusedError
from slipstream.web.settings import Limits

_MIB = 1024**2
_CHUNK = 1 << 20
_LEFTOVERS = ("__MACOSX", "Thumbs.db", "desktop.ini")
_AGAIN = "make the zip again from a plain folder of pictures and captions."
_ENCRYPTED = 0x1


def archive_files(handle: IO[bytes], name: str, limits: Limits) -> Iterator[tuple[str, bytes]]:
    """(path with slashes, bytes) of every file in a zip, without the folder that all lie in.

    What systems leave in zips (`__MACOSX`, hidden files) is left out. Sizes are counted while unpacking, whatever the
    zip says of itself.

    Raises:
        RefusedError: it is no zip, it is encrypted, it would write outside its folder, it holds links, or it unpacks
            to more than may be.
    """
    try:
        with zipfile.ZipFile(handle) as archive:
            entries = _checked(archive.infolist(), name, limits)
            cut = _common_folder([path for path, _ in entries])
            left = limits.unpacked_bytes
            for path, info in entries:
                data = _read(archive, info, min(left, limits.picture_bytes), name)
                left -= len(data)
                yield path[cut:], data
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise _refused(name, f"this zip cannot be read ({error})") from error


def _checked(infos: list[zipfile.ZipInfo], name: str, limits: Limits) -> list[tuple[str, zipfile.ZipInfo]]:
    if len(infos) > limits.zip_entries:
        raise _refused(name, f"this zip holds {len(infos):,} files, at most {limits.zip_entries:,} are unpacked")
    total = sum(info.file_size for info in infos)
    if total > limits.unpacked_bytes:
        raise _refused(name, f"this zip unpacks to {total // _MIB:,} MiB, at most {limits.unpacked_bytes // _MIB:,}")
    found = [(_safe_path(info, name), info) for info in infos if not info.is_dir()]
    for path, info in found:
        if info.flag_bits & _ENCRYPTED:
            raise _refused(name, f"{path} is encrypted", "make the zip without a password.")
        if info.file_size > _MIB and info.file_size > limits.zip_ratio * max(1, info.compress_size):
            raise _refused(name, f"{path} unpacks to {info.file_size // max(1, info.compress_size)} times its size")
    return [(path, info) for path, info in found if not _is_leftover(path)]


def _safe_path(info: zipfile.ZipInfo, name: str) -> str:
    """The path of an entry, one that stays in its folder on any system."""
    original = info.orig_filename
    path = info.filename.replace("\\", "/")
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or ":" in path or "\0" in original or not parts:
        raise _refused(name, f"{original[:120]!r} in this zip would be written outside its folder")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise _refused(name, f"{path[:120]!r} in this zip is a link, not a file")
    return "/".join(parts)


def _is_leftover(path: str) -> bool:
    return any(part.startswith(".") or part in _LEFTOVERS for part in path.split("/"))


def _common_folder(paths: list[str]) -> int:
    """How many characters of all paths name folders that every file lies in."""
    folders = [path.split("/")[:-1] for path in paths]
    common: list[str] = []
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return sum(len(part) + 1 for part in common) if folders else 0


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int, name: str) -> bytes:
    data = bytearray()
    with archive.open(info) as handle:
        while chunk := handle.read(_CHUNK):
            data += chunk
            if len(data) > most:
                raise _refused(name, f"{info.filename[:120]!r} in this zip is larger than {most // _MIB} MiB")
    return bytes(data)


def _refused(name: str, message: str, fix: str = _AGAIN) -> RefusedError:
    return RefusedError(422, message, where=name[:120], fix=fix)

"""Files that somebody sends into a dataset: pictures, captions, zips of both. Each is looked at before it is kept."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from slipstream.core.atomic import write_bytes
from slipstream.core.errors import SlipstreamError
from slipstream.core.hashing import hash_bytes, hash_file
from slipstream.data.images import EXTENSIONS, decoded_size
from slipstream.web.problems import RefusedError
from slipstream.web.services.archives import archive_files
from slipstream.web.services.datasets import CAPTION_ENDING, LONGEST_CAPTION
from slipstream.web.services.places import below, is_plain_name
from slipstream.web.settings import Limits

_ZIP = ".zip"
_MIB = 1024**2
_WHAT_IS_TAKEN = "send JPEG, PNG or WebP pictures, .txt captions, or a .zip of them."


@dataclass(frozen=True)
class Sent:
    """A file as it was sent."""

    name: str
    handle: IO[bytes]


@dataclass(frozen=True)
class RefusedFile:
    """A file that was not kept, and why."""

    file: str
    message: str
    fix: str | None


@dataclass
class UploadReport:
    """What became of the files of an upload: paths in the dataset, and those refused."""

    pictures: list[str] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    """There already, byte for byte."""
    refused: list[RefusedFile] = field(default_factory=list)


def take_files(
    folder: Path, files: Iterable[Sent], limits: Limits, *, replace: bool = False, folders: bool = False
) -> UploadReport:
    """Look at every file and keep the good ones.

    A zip with a trick in it is refused as a whole. A name that is taken by other content is refused unless `replace`.

    Args:
        folder: the dataset.
        files: what was sent.
        limits: how large things may be.
        replace: write over what is there.
        folders: keep the folders that names hold; else files lie in the dataset itself.
    """
    report = UploadReport()
    for sent in files:
        try:
            for name, data in _unpacked(sent, limits, folders=folders):
                try:
                    _take(folder, name, data, limits, report, replace=replace)
                except SlipstreamError as error:
                    report.refused.append(_told(name, error))
        except SlipstreamError as error:
            report.refused.append(_told(sent.name, error))
    return report


def _told(name: str, error: SlipstreamError) -> RefusedFile:
    return RefusedFile(name[:200], error.message, error.fix)


def _unpacked(sent: Sent, limits: Limits, *, folders: bool) -> Iterator[tuple[str, bytes]]:
    """(path in the dataset, bytes) of a file, or of all files in a zip: read as a whole first, so that of a zip that
    turns out to be a trick nothing is kept."""
    name = plain_file_name(sent.name)
    if name.lower().endswith(_ZIP):
        for path, _ in archive_files(sent.handle, name, limits):
            _safe_relative(path)
        sent.handle.seek(0)
        yield from archive_files(sent.handle, name, limits)
        return
    data = sent.handle.read(limits.picture_bytes + 1)
    yield _safe_relative(sent.name.replace("\\", "/")) if folders else name, data


def plain_file_name(sent: str) -> str:
    """The name under which a file is kept: without folders, in one spelling of accents.

    Raises:
        RefusedError: no file can have it everywhere.
    """
    name = unicodedata.normalize("NFC", sent.replace("\\", "/").rpartition("/")[2])
    if not is_plain_name(name):
        raise RefusedError(
            422, f"{sent[:80]!r} cannot name a file", where="name", fix="rename it with letters, digits, - and _."
        )
    return name


def _safe_relative(path: str) -> str:
    """A path in a zip whose every part can be a name everywhere.

    Raises:
        RefusedError: one cannot.
    """
    name = unicodedata.normalize("NFC", path)
    if not all(is_plain_name(part) for part in PurePosixPath(name).parts):
        raise RefusedError(
            422, f"{path[:120]!r} cannot name a file", where="name",
            fix="rename it with letters, digits, - and _.",
        )  # fmt: skip
    return name


def _take(folder: Path, name: str, data: bytes, limits: Limits, report: UploadReport, *, replace: bool) -> None:
    suffix = PurePosixPath(name).suffix.lower()
    target = below(folder, _safe_relative(name), "place in the dataset")
    if suffix in EXTENSIONS:
        if len(data) > limits.picture_bytes:
            raise _too_large(name, limits.picture_bytes)
        decoded_size(data, Path(name))
        kept = report.pictures
    elif suffix == f".{CAPTION_ENDING}":
        _check_caption(name, data, limits)
        kept = report.captions
    else:
        raise RefusedError(422, f"{suffix or 'such'} files are not taken", where=name, fix=_WHAT_IS_TAKEN)
    if target.exists():
        if target.is_file() and hash_file(target) == hash_bytes(data):
            report.unchanged.append(name)
            return
        if not replace or not target.is_file():
            raise RefusedError(409, "there is another file of this name", where=name, fix="rename it, or replace it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(target, data, durable=False)
    kept.append(name)


def _check_caption(name: str, data: bytes, limits: Limits) -> None:
    if len(data) > limits.caption_bytes:
        raise _too_large(name, limits.caption_bytes)
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise RefusedError(
            422, f"the caption is not UTF-8: byte {data[error.start]:#04x} at position {error.start}", where=name,
            fix="save it as UTF-8 in your editor.",
        ) from error  # fmt: skip
    if "\0" in text or len(text) > LONGEST_CAPTION:
        raise RefusedError(422, "this is no caption", where=name, fix="a caption is a few sentences of plain text.")


def _too_large(name: str, most: int) -> RefusedError:
    return RefusedError(413, f"the file is larger than {most // _MIB} MiB", where=name, fix="scale the picture down.")

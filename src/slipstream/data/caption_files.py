"""Captions as JSON: one file for a whole folder (JSON or JSONL, the shapes that trainers write), or one per picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from slipstream.core.errors import CaptionError
from slipstream.data.captions import decode_text, fold

METADATA_NAME = "metadata.jsonl"
"""A folder's captions are looked for here where no other file is named."""
NAME_KEYS = ("file_name", "filename", "file", "image", "image_path", "path")
CAPTION_KEYS = ("caption", "text", "prompt")
TAGS_KEY = "tags"
_NAMED = 3
_SHAPES = (
    'expected {"photo.jpg": "caption", ...}, or entries such as {"file_name": "photo.jpg", "text": "caption"} '
    "in a list or one a line."
)


@dataclass(frozen=True)
class CaptionList:
    """A folder's captions file.

    Attributes:
        path: the file.
        captions: written caption by picture; pictures whose entry holds no words are left out.
        notes: entries that name no picture, or one that another entry names too; one line each kind.
    """

    path: Path
    captions: Mapping[Path, str]
    notes: tuple[str, ...]


def read_caption_list(path: Path, folder: Path, pictures: Sequence[Path]) -> CaptionList:
    """The captions of a folder's pictures from one file.

    An entry belongs to the picture at its path in the folder, with or without the ending; where there is none, to
    the one picture whose path ends like the entry's (files written elsewhere hold other folders).

    Raises:
        CaptionError: the file cannot be read, is not JSON, or has another shape; with the line where there is one.
    """
    entries = list(_entries(path))
    matched, lost = _match(entries, folder, pictures)
    captions: dict[Path, str] = {}
    twice: list[str] = []
    for (name, caption), picture in zip(entries, matched, strict=True):
        if picture is not None:
            twice += [name] if picture in captions else []
            captions[picture] = caption
    notes = []
    if lost:
        notes.append(f"{path}: {len(lost)} of {len(entries)} entries match no picture ({_some(lost)})")
    if twice:
        notes.append(f"{path}: {len(twice)} pictures are named more than once, the last entry counts ({_some(twice)})")
    return CaptionList(path, {picture: caption for picture, caption in captions.items() if caption}, tuple(notes))


def read_json_caption(path: Path) -> str:
    """The caption of a picture's own JSON file: a text, or a group with a `caption`.

    Raises:
        CaptionError: the file cannot be read, is not JSON, or holds no caption.
    """
    value = _parse(decode_text(path), path, 1)
    if isinstance(value, str):
        return fold(value)
    if not isinstance(value, dict) or (caption := _caption_in(value, str(path))) is None:
        raise CaptionError(
            "no caption is in this file", where=str(path), fix='write it as {"caption": "a photo of ..."}.'
        )
    return caption


def _entries(path: Path) -> Iterator[tuple[str, str]]:
    """(name of a picture, caption or "") in the file's order."""
    text = decode_text(path)
    if path.suffix.lower() == ".jsonl":
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                yield _entry(_parse(line, path, number), f"{path}, line {number}")
        return
    value = _parse(text, path, 1)
    if isinstance(value, list):
        for number, item in enumerate(value, start=1):
            yield _entry(item, f"{path}, entry {number}")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name, _caption_of(item, f"{path}, entry {name!r}")
    else:
        raise CaptionError("this is no list of captions", where=str(path), fix=_SHAPES)


def _entry(item: Any, where: str) -> tuple[str, str]:
    name = next((item[key] for key in NAME_KEYS if key in item), None) if isinstance(item, dict) else None
    if not isinstance(name, str):
        found = f" (it has {', '.join(map(str, item))})" if isinstance(item, dict) and item else ""
        raise CaptionError(f"this entry names no picture{found}", where=where, fix=_SHAPES)
    return name, _caption_of(item, where)


def _caption_of(item: Any, where: str) -> str:
    if item is None or isinstance(item, str):
        return fold(item or "")
    if isinstance(item, dict):
        return _caption_in(item, where) or ""
    raise CaptionError(f"got {json.dumps(item)[:60]}, expected a caption", where=where, fix=_SHAPES)


def _caption_in(group: Mapping[str, Any], where: str) -> str | None:
    """The caption of a group, its tags behind it; None where it has neither."""
    values = [group[key] for key in CAPTION_KEYS if group.get(key) is not None][:1]
    tags = group.get(TAGS_KEY)
    if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
        tags = ", ".join(tags)
    values += [] if tags is None else [tags]
    for value in values:
        if not isinstance(value, str):
            raise CaptionError(f"got {json.dumps(value)[:60]}, expected a text", where=where, fix=_SHAPES)
    return ", ".join(text for value in values if (text := fold(value))) if values else None


def _parse(text: str, path: Path, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise CaptionError(
            f"this is not JSON: {error.msg} in line {line}, column {error.colno}", where=f"{path}, line {line}",
            fix="look for a missing quote, comma or bracket there or just before; quotes inside a text are \\\".",
        ) from error  # fmt: skip
    except RecursionError as error:
        raise CaptionError("this JSON is nested too deeply", where=str(path), fix=_SHAPES) from error


def _match(
    entries: Sequence[tuple[str, str]], folder: Path, pictures: Sequence[Path]
) -> tuple[list[Path | None], list[str]]:
    """The picture of every entry, and the names that have none."""
    exact = {picture.relative_to(folder).as_posix(): picture for picture in pictures}
    endings: dict[str, set[Path]] = {}
    for name, picture in exact.items():
        for form in (PurePosixPath(name), PurePosixPath(name).with_suffix("")):
            for start in range(len(form.parts)):
                endings.setdefault("/".join(form.parts[start:]), set()).add(picture)
    parts = [PurePosixPath(name.replace("\\", "/")).parts for name, _ in entries]
    matched = [exact.get("/".join(one)) for one in parts]
    taken = {picture for picture in matched if picture is not None}
    for number, one in enumerate(parts):
        if matched[number] is None:
            tails = ("/".join(one[start:]) for start in range(len(one)))
            found = next((endings[tail] for tail in tails if tail in endings), set())
            free = found - taken
            matched[number] = next(iter(free)) if len(free) == len(found) == 1 else None
    return matched, [name for (name, _), picture in zip(entries, matched, strict=True) if picture is None]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")

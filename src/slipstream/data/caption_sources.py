"""Where a folder's captions come from: its captions file, files beside the pictures, the default; in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipstream.core.errors import CaptionError
from slipstream.data.caption_files import METADATA_NAME, CaptionList, read_caption_list, read_json_caption
from slipstream.data.captions import (
    Caption,
    CaptionSource,
    caption_path,
    final_caption,
    fold,
    has_placeholder,
    read_caption,
)
from slipstream.data.settings import DatasetSettings

_NAMED = 3


@dataclass(frozen=True)
class FolderCaptions:
    """The captions of a folder's pictures, and what is odd about them, one line each."""

    by_picture: Mapping[Path, Caption]
    notes: tuple[str, ...]


def find_captions(settings: DatasetSettings, pictures: Sequence[Path]) -> FolderCaptions:
    """The caption of every picture.

    A captions file that is named counts before the files beside the pictures; a `metadata.jsonl` that merely lies in
    the folder counts after them. The default caption comes last.

    Raises:
        CaptionError: a file cannot be read, or the captions file names none of the pictures.
    """
    own = {picture: own_caption(picture, settings.caption_extension) for picture in pictures}
    listed = _caption_list(settings, pictures)
    named_first = settings.captions_file is not None
    captions = {}
    for picture in pictures:
        options: list[tuple[str, CaptionSource]] = [(own[picture], "file")]
        if listed is not None:
            options.insert(0 if named_first else 1, (listed.captions.get(picture, ""), "list"))
        options += [(fold(settings.default_caption), "default"), ("", "none")]
        written, source = next(option for option in options if option[0] or option[1] == "none")
        captions[picture] = _finished(written, source, settings)
    notes = [] if listed is None else [*listed.notes, *_precedence(listed, own, named_first)]
    return FolderCaptions(captions, (*notes, *_lost_placeholders(settings.path, captions)))


def own_caption(picture: Path, extension: str) -> str:
    """What the caption file beside a picture holds; "" where there is none.

    Raises:
        CaptionError: it cannot be read.
    """
    path = caption_path(picture, extension)
    if not path.is_file():
        return ""
    return read_json_caption(path) if path.suffix.lower() == ".json" else read_caption(path)


def _caption_list(settings: DatasetSettings, pictures: Sequence[Path]) -> CaptionList | None:
    if settings.captions_file is None:
        found = settings.path / METADATA_NAME
        return read_caption_list(found, settings.path, pictures) if found.is_file() else None
    listed = read_caption_list(settings.captions_file, settings.path, pictures)
    if not listed.captions:
        raise CaptionError(
            f"this captions file has no caption for any of the {len(pictures)} pictures ({pictures[0].name}, ...)",
            where=str(listed.path), fix="its entries must hold the pictures' file names, and a caption each.",
        )  # fmt: skip
    return listed


def _finished(written: str, source: CaptionSource, settings: DatasetSettings) -> Caption:
    word = settings.drawn_triggers[0]
    text = final_caption(written, word, settings.known_triggers, in_front=settings.regularization is None)
    return Caption(text, source, lost_placeholder=not word and has_placeholder(written), written=written)


def _precedence(listed: CaptionList, own: Mapping[Path, str], named_first: bool) -> Iterator[str]:
    both = [picture.name for picture in own if own[picture] and picture in listed.captions]
    if both:
        first = "the entry counts" if named_first else "the file counts"
        yield f"{listed.path}: {len(both)} pictures have an entry and a caption file ({_some(both)}): {first}"
    without = [picture.name for picture in own if picture not in listed.captions]
    if without and named_first:
        yield f"{listed.path}: {len(without)} of {len(own)} pictures have no caption in it ({_some(without)})"
    if not listed.captions:
        yield f"{listed.path}: it has no caption for any picture, so it is left aside"


def _lost_placeholders(folder: Path, captions: Mapping[Path, Caption]) -> Iterator[str]:
    names = [path.name for path, caption in captions.items() if caption.lost_placeholder]
    if names:
        yield f"{folder}: [trigger] was taken out of {len(names)} captions ({_some(names)}): no trigger word is set"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")

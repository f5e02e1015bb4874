"""Captions: `<stem>.txt` beside the picture, `[trigger]` filled in, a missing trigger word put in front."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slipstream.core.errors import CaptionError

CaptionSource = Literal["file", "default", "none"]

_PLACEHOLDER = re.compile(r"\[trigger\]", re.IGNORECASE)
_TO_UTF8 = (
    'save it as UTF-8: in an editor "Save as ... UTF-8", or `iconv -f WINDOWS-1252 -t UTF-8 old.txt > new.txt` '
    "(or -f UTF-16)."
)


@dataclass(frozen=True)
class Caption:
    """A picture's final caption, where it came from, and whether a `[trigger]` had to be taken out of it."""

    text: str
    source: CaptionSource
    lost_placeholder: bool = False


def caption_path(image_path: Path, extension: str) -> Path:
    """The caption file that belongs to a picture."""
    return image_path.with_suffix(f".{extension.lstrip('.')}")


def caption_for(
    image_path: Path, extension: str, default_caption: str, trigger_word: str, in_front: bool = True
) -> Caption:
    """The caption that a picture is trained with; `in_front` False only fills `[trigger]` in.

    Raises:
        CaptionError: the caption file cannot be read as text.
    """
    path = caption_path(image_path, extension)
    written = read_caption(path) if path.is_file() else ""
    text = written or fold(default_caption)
    source: CaptionSource = "file" if written else "default" if text else "none"
    word = trigger_word.strip()
    final = with_trigger(text, word) if in_front else fill_trigger(text, word)
    return Caption(final, source, not word and _PLACEHOLDER.search(text) is not None)


def read_caption(path: Path) -> str:
    """A caption file's text on one line; UTF-8, or UTF-16 with a byte order mark.

    Raises:
        CaptionError: the file cannot be read, or is in another encoding.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CaptionError(f"the caption cannot be read ({error.strerror or error})", where=str(path)) from error
    encoding = "UTF-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "UTF-8"
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        message = f"the caption is not {encoding}: byte {data[error.start]:#04x} at position {error.start}"
        raise CaptionError(message, where=str(path), fix=_TO_UTF8) from error
    if "\0" in text:
        # valid UTF-8 all the same, and what UTF-16 without its mark looks like
        message = f"the caption is not UTF-8 text: zero byte at position {data.index(0)}"
        raise CaptionError(message, where=str(path), fix=_TO_UTF8)
    return fold(text)


def fold(text: str) -> str:
    """The text on one line: every run of spaces and newlines is one space, none at the ends."""
    return " ".join(text.split())


def fill_trigger(text: str, trigger_word: str) -> str:
    """Replace every `[trigger]` (any case) by the word; without one take it out, with the comma it leaves."""
    word = trigger_word.strip()
    if word or not _PLACEHOLDER.search(text):
        return _PLACEHOLDER.sub(lambda _: word, text)
    bare = fold(_PLACEHOLDER.sub(" ", text))
    bare = re.sub(r"\s+([,.;:!?])", r"\1", bare)
    bare = re.sub(r"([,;])(?:\s*[,;])+", r"\1", bare)
    return bare.strip(" ,;")


def with_trigger(caption: str, trigger_word: str) -> str:
    """`fill_trigger`, and "word, caption" where the caption holds neither the placeholder nor the word."""
    word = trigger_word.strip()
    filled = fill_trigger(caption, word)
    if not word or _PLACEHOLDER.search(caption) or has_word(caption, word):
        return filled
    return f"{word}, {filled}" if filled else word


def has_word(text: str, word: str) -> bool:
    """Whether `word` stands in `text` as a whole word, in any case."""
    return find_word(word).search(text) is not None


def find_word(word: str) -> re.Pattern[str]:
    """Matches `word` where it stands as a whole word, in any case."""
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)

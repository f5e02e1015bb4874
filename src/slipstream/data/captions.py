"""Captions: `<stem>.txt` beside the picture, `[trigger]` filled in, a missing trigger word put in front."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slipstream.core.errors import CaptionError

CaptionSource = Literal["file", "list", "default", "none"]

_PLACEHOLDER = re.compile(r"\[trigger\]", re.IGNORECASE)
_TO_UTF8 = (
    'save it as UTF-8: in an editor "Save as ... UTF-8", or `iconv -f WINDOWS-1252 -t UTF-8 old.txt > new.txt` '
    "(or -f UTF-16)."
)


@dataclass(frozen=True)
class Caption:
    """A picture's caption, where it came from, and whether a `[trigger]` had to be taken out of it.

    `text` is final; `written` is what it was made of, `[trigger]` and all.
    """

    text: str
    source: CaptionSource
    lost_placeholder: bool = False
    written: str = ""


def caption_path(image_path: Path, extension: str) -> Path:
    """The caption file that belongs to a picture."""
    return image_path.with_suffix(f".{extension.lstrip('.')}")


def final_caption(written: str, trigger_word: str, known_triggers: tuple[str, ...] = (), in_front: bool = True) -> str:
    """A written caption with the trigger word in it: in the place of `[trigger]`, of any other word that is known for a
    trigger, or else, with `in_front`, at the front."""
    word = trigger_word.strip()
    if word:
        written = replace_words(written, tuple(other for other in known_triggers if other != word), word)
    return with_trigger(written, word) if in_front else fill_trigger(written, word)


def read_caption(path: Path) -> str:
    """A caption file's text on one line; the errors are those of `decode_text`."""
    return fold(decode_text(path))


def decode_text(path: Path) -> str:
    """A file's text: UTF-8, or UTF-16 with a byte order mark.

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
    return text


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


def has_placeholder(text: str) -> bool:
    """Whether `[trigger]` stands in the text, in any case."""
    return _PLACEHOLDER.search(text) is not None


def has_word(text: str, word: str) -> bool:
    """Whether `word` stands in `text` as a whole word, in any case."""
    return has_any_word(text, (word,))


def has_any_word(text: str, words: tuple[str, ...]) -> bool:
    """Whether one of the words stands in the text as a whole word, in any case."""
    return bool(words) and _find_words(words).search(text) is not None


def replace_words(text: str, words: tuple[str, ...], new: str) -> str:
    """The text with `new` where one of the words stands as a whole word, in any case."""
    return _find_words(words).sub(lambda _: new, text) if words else text


def _find_words(words: tuple[str, ...]) -> re.Pattern[str]:
    # the longest first, so that no word is taken for its own beginning
    options = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{options})(?!\w)", re.IGNORECASE)

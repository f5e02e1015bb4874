"""Changing many captions at once: pure edits, a preview of what they would do, and a way back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slipstream.core.errors import ConfigError
from slipstream.data.captions import replace_words, with_trigger
from slipstream.web.services.datasets import caption_beside, find_picture, write_captions

EditKind = Literal["prepend", "append", "remove_tag", "replace", "trigger", "default", "clear"]
EDIT_KINDS: tuple[EditKind, ...] = ("prepend", "append", "remove_tag", "replace", "trigger", "default", "clear")


@dataclass(frozen=True)
class CaptionEdit:
    """One change to captions.

    Attributes:
        kind: `prepend` and `append` put `text` before or behind, after a comma; `remove_tag` takes out the tag `text`
            between commas; `replace` puts `text` where `find` stands; `trigger` puts the trigger word `text` where
            `find`, the old one, stands, and in front where neither stands; `default` gives `text` to pictures without a
            caption; `clear` removes captions.
        text: what it says there.
        find: what is looked for.
        whole_words: `find` counts only as a word of its own.
        match_case: capitals count.
    """

    kind: EditKind
    text: str = ""
    find: str = ""
    whole_words: bool = False
    match_case: bool = False


@dataclass(frozen=True)
class CaptionChange:
    """What an edit does to one picture's caption; "" is none."""

    file: str
    before: str
    after: str


def edited(caption: str, edit: CaptionEdit) -> str:
    """The caption after the edit; "" for none.

    Raises:
        ConfigError: the edit lacks its text.
    """
    text = edit.text.strip()
    if edit.kind == "default":
        text = _required(text)
        return caption or text
    if edit.kind == "clear":
        return ""
    if edit.kind == "prepend":
        return _joined(_required(text), caption)
    if edit.kind == "append":
        return _joined(caption, _required(text))
    if edit.kind == "remove_tag":
        return _without_tag(caption, _required(text))
    if edit.kind == "trigger":
        old = (edit.find.strip(),) if edit.find.strip() else ()
        return with_trigger(replace_words(caption, old, _required(text)), text)
    return " ".join(_pattern(edit).sub(lambda _: edit.text, caption).split())


def _required(text: str) -> str:
    if not text:
        raise ConfigError("the text is empty", where="text", fix="say what to write.")
    return text


def _joined(first: str, second: str) -> str:
    if not (first and second):
        return first or second
    return f"{first} {second}" if first[-1] in ".,;:!?" else f"{first}, {second}"


def _without_tag(caption: str, tag: str) -> str:
    tags = [one.strip() for one in caption.split(",")]
    kept = [one for one in tags if one.lower() != tag.lower()]
    return caption if len(kept) == len(tags) else ", ".join(kept)


def _pattern(edit: CaptionEdit) -> re.Pattern[str]:
    if not edit.find:
        raise ConfigError("nothing to look for is given", where="find", fix="say what to replace.")
    text = re.escape(edit.find)
    if edit.whole_words:
        text = rf"(?<!\w){text}(?!\w)"
    return re.compile(text, 0 if edit.match_case else re.IGNORECASE)


def preview_edit(folder: Path, files: Iterable[str], edit: CaptionEdit) -> list[CaptionChange]:
    """What the edit would change, in the order of the files; captions that it leaves as they are, are left out.

    Raises:
        ConfigError: the edit lacks its text.
        RefusedError: a picture is not there.
    """
    edited("", edit)  # an edit without its text is refused also where there is no file
    changes = []
    for file in files:
        before = caption_beside(find_picture(folder, file)) or ""
        after = edited(before, edit)
        if after != before:
            changes.append(CaptionChange(file, before, after))
    return changes


def apply_changes(folder: Path, changes: Sequence[CaptionChange]) -> list[CaptionChange]:
    """Write what was previewed; a caption that is another one by now stays. Returns what was written.

    Raises:
        RefusedError: a caption would be too long, or a picture is not there; nothing was written then.
    """
    current: Mapping[str, str] = {
        change.file: caption_beside(find_picture(folder, change.file)) or "" for change in changes
    }
    written = [change for change in changes if current[change.file] == change.before]
    write_captions(folder, {change.file: change.after for change in written})
    return written


def undone(changes: Sequence[CaptionChange]) -> list[CaptionChange]:
    """The changes that take these back."""
    return [CaptionChange(change.file, change.after, change.before) for change in reversed(changes)]

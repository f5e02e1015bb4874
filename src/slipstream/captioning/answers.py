"""From a model's answer to a caption: pure functions."""

from __future__ import annotations

import re

from slipstream.captioning.prompts import Form
from slipstream.data.captions import fold, with_trigger

_OPENING = re.compile(
    r"^(?:caption|description|tags|answer)\s*:\s*|^(?:sure|certainly|here (?:is|are))[^.:!]*[:!]\s*", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"[.!?][\"')\]]?(?=\s|$)")
_BULLET = re.compile(r"^\s*(?:\d+[.)]|[-•])\s*")
_QUOTES = "\"'“”‘’`*"


def caption_from(answer: str, form: Form, trigger_word: str, *, cut: bool) -> str:
    """The caption in an answer; "" where it holds none.

    Args:
        answer: as the model gave it.
        form: what was asked for.
        trigger_word: put in front where the caption lacks it.
        cut: the answer reached the most tokens, so its end is left off where that leaves something.
    """
    text = fold(_OPENING.sub("", fold(answer).strip(_QUOTES + " ")))
    text = text.strip(_QUOTES + " ")
    text = _tags(text, cut=cut) if form == "tags" else _sentences(text, cut=cut)
    return with_trigger(text, trigger_word) if text and trigger_word.strip() else text


def _sentences(text: str, *, cut: bool) -> str:
    if not cut:
        return text
    ends = [found.end() for found in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends else text


def _tags(text: str, *, cut: bool) -> str:
    """Each tag once, in its order, without a list's numbers or a full stop."""
    tags = [_BULLET.sub("", tag).strip(" .;" + _QUOTES) for tag in re.split(r"[,;\n]", text)]
    if cut and len(tags) > 1:
        tags.pop()
    return ", ".join(dict.fromkeys(tag for tag in tags if tag))

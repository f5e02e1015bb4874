"""What a check found of one picture, in the language of the page, with the figure that its sentence has."""

from __future__ import annotations

import re

from slipstream.web.parts.say import say

_FIGURE = re.compile(r"\d+×\d+|\d[\d.,]*(?: ?%)?")
_BARE = ("no caption", "unmasked")
"""Kinds without a figure."""


def finding_words(kind: str, text: str) -> str:
    """A finding's sentence; the check's own where it has no figure that is expected of its kind."""
    key = f"check.found_{kind.replace(' ', '_')}"
    if kind in _BARE:
        return say(key)
    figures = _FIGURE.findall(text)
    if not figures:
        return text
    # its limit comes last; of a caption's tokens the number of them comes first
    return say(key, figure=figures[0] if kind == "long caption" else figures[-1])

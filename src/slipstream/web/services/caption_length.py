"""How long a caption is for the text encoder, guessed without its tokenizer; the check counts exactly."""

from __future__ import annotations

import re

MAX_TOKENS = 512
"""What is past this is cut off in training."""

_PIECES = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_")
_LETTERS_A_TOKEN = 9
_NARROW = 0x2E80
"""From here on writing systems have about one token a character."""


def guess_tokens(caption: str) -> int:
    """About how many tokens a caption has: a word is one, a long word more, digits and signs are one each."""
    count = 0
    for piece in _PIECES.findall(caption):
        wide = sum(ord(letter) >= _NARROW for letter in piece)
        narrow = len(piece) - wide
        count += wide + -(-narrow // _LETTERS_A_TOKEN)
    return count

"""How a caption changes from draw to draw: tokens shuffled and dropped. Pure functions of (seed, picture, version)."""

from __future__ import annotations

import random
from dataclasses import dataclass

from slipstream.core.seeding import derive_seed
from slipstream.data.captions import has_any_word, has_placeholder

MAX_VERSIONS = 64
"""Most versions of one caption: all are cached."""


@dataclass(frozen=True)
class CaptionRule:
    """What may change in a dataset's captions.

    Attributes:
        shuffle: whether tokens change places.
        token_dropout: probability that a token is left out.
        keep_tokens: tokens at the front that are neither moved nor left out.
        separator: what stands between tokens.
        versions: how many versions of a caption there are where it is shuffled or loses tokens.
        random_triggers: words of which one takes the trigger word's place in each draw.
        seed: of the versions.
    """

    shuffle: bool = False
    token_dropout: float = 0.0
    keep_tokens: int = 0
    separator: str = ","
    versions: int = 8
    random_triggers: tuple[str, ...] = ()
    seed: int = 0

    @property
    def changes_tokens(self) -> bool:
        """Whether captions are taken apart at all."""
        return self.shuffle or self.token_dropout > 0

    @property
    def num_versions(self) -> int:
        """Versions of each caption, not counting random triggers."""
        return self.versions if self.changes_tokens else 1


AS_WRITTEN = CaptionRule()
"""Captions stay as they are."""


def split_tokens(caption: str, separator: str) -> list[str]:
    """What stands between separators, without spaces around it; empty pieces are left out."""
    return [token for piece in caption.split(separator.strip()) if (token := piece.strip())]


def join_tokens(tokens: list[str], separator: str) -> str:
    """Tokens as one caption, a space after each separator."""
    return f"{separator.strip()} ".join(tokens)


def caption_version(caption: str, rule: CaptionRule, picture: str, version: int, trigger_words: tuple[str, ...]) -> str:
    """Version number `version` (0-based) of a caption as written; the caption itself where the rule changes no tokens.

    Args:
        caption: with its `[trigger]` not filled in yet.
        rule: the dataset's.
        picture: names the picture (its hash), so that equal captions of two pictures vary apart.
        version: which of `rule.num_versions`.
        trigger_words: a token that holds one of them, or the placeholder, is never left out.
    """
    if not rule.changes_tokens:
        return caption
    dice = random.Random(derive_seed(rule.seed, "caption", picture, version))
    tokens = split_tokens(caption, rule.separator)
    front, others = tokens[: rule.keep_tokens], tokens[rule.keep_tokens :]
    # dice are thrown for every token, so that one token's fate never moves another's
    lucky = [dice.random() >= rule.token_dropout for _ in others]
    left = [
        token
        for token, stays in zip(others, lucky, strict=True)
        if stays or has_placeholder(token) or has_any_word(token, trigger_words)
    ]
    if rule.shuffle:
        dice.shuffle(left)
    return join_tokens(front + left, rule.separator)

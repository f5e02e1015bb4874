"""The captions that one picture can be trained with, all known beforehand, so that all can be cached."""

from __future__ import annotations

from dataclasses import dataclass

from slipstream.data.caption_rules import caption_version
from slipstream.data.captions import final_caption, replace_words
from slipstream.data.scan import ImageFile
from slipstream.data.settings import DatasetSettings


@dataclass(frozen=True)
class CaptionVariant:
    """One form of a picture's caption.

    Args:
        text: as trained, trigger word included.
        preserved: the caption whose prediction must stay as it is without the LoRA; None where nothing is preserved.
    """

    text: str
    preserved: str | None = None


def caption_variants(image: ImageFile, settings: DatasetSettings) -> tuple[CaptionVariant, ...]:
    """The forms of a picture's caption: every version of its tokens, each with every word it may be called up by."""
    if settings.trigger_only:
        return dropped_variants(settings)
    rule, known = settings.caption_rule, settings.known_triggers
    versions = [
        caption_version(image.written_caption, rule, image.content_hash, version, known)
        for version in range(rule.num_versions)
    ]
    in_front = settings.regularization is None
    return tuple(
        _with_preserved(final_caption(version, word, known, in_front), settings)
        for version in versions
        for word in settings.drawn_triggers
    )


def dropped_variants(settings: DatasetSettings) -> tuple[CaptionVariant, ...]:
    """What stands in the place of each form when the caption is dropped: the trigger word, or nothing."""
    words = settings.drawn_triggers if settings.regularization is None else ("",)
    repeats = 1 if settings.trigger_only else settings.caption_rule.num_versions
    return tuple(_with_preserved(word, settings) for word in words) * repeats


def _with_preserved(caption: str, settings: DatasetSettings) -> CaptionVariant:
    if settings.preserves_blank:
        return CaptionVariant(caption, "")
    if settings.class_word is not None:
        return CaptionVariant(caption, replace_words(caption, settings.known_triggers, settings.class_word.strip()))
    return CaptionVariant(caption)

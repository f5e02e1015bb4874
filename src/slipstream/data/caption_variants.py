"""The captions that one picture can be trained with, all known beforehand, so that all can be cached."""

from __future__ import annotations

from dataclasses import dataclass

from slipstream.data.captions import find_word
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
    """The forms that the picture's caption takes."""
    if settings.trigger_only:
        return dropped_variants(settings)
    return (_with_preserved(image.caption, settings.front_word, settings),)


def dropped_variants(settings: DatasetSettings) -> tuple[CaptionVariant, ...]:
    """What stands in the place of each form when the caption is dropped: the trigger word, or nothing."""
    return (_with_preserved(settings.front_word, settings.front_word, settings),)


def preserved_caption(caption: str, trigger_word: str, class_word: str) -> str:
    """The caption with the trigger word, wherever it stands as a whole word, replaced by the class word."""
    word = trigger_word.strip()
    return find_word(word).sub(lambda _: class_word.strip(), caption) if word else caption


def _with_preserved(caption: str, trigger_word: str, settings: DatasetSettings) -> CaptionVariant:
    if settings.preserves_blank:
        return CaptionVariant(caption, "")
    if settings.class_word is not None:
        return CaptionVariant(caption, preserved_caption(caption, trigger_word, settings.class_word))
    return CaptionVariant(caption)

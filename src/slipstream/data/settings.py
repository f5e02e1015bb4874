"""One dataset folder and how it is to be used, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slipstream.core.errors import DataError
from slipstream.data.caption_rules import AS_WRITTEN, MAX_VERSIONS, CaptionRule

Regularization = Literal["pictures", "prior"]

MIN_SIDE = 64
"""The shortest side (pixels) that a picture may have in training."""

MaskSource = Literal["alpha", "folder"]
Crop = Literal["center", "top", "random"]


@dataclass(frozen=True)
class MaskSettings:
    """Where masks come from and how they are read.

    Attributes:
        source: the alpha channel of each picture, or grey pictures in a folder.
        path: that folder; None for alpha channels.
        invert: black counts instead of white.
        minimum: weight of the parts that count least, 0 to 1.
        prior_weight: how strongly the parts outside are held to what the model drew there without the LoRA; 0 is off.
    """

    source: MaskSource
    path: Path | None = None
    invert: bool = False
    minimum: float = 0.0
    prior_weight: float = 0.0


@dataclass(frozen=True)
class CropRule:
    """How the shown part of a picture is chosen.

    Attributes:
        kind: `center`; `top` cuts what is too tall at the bottom only; `random` draws `count` boxes.
        count: boxes of a picture in a bucket.
        scale: the smallest side of a drawn box, as a share of the largest box's side; 1 cuts as little as possible.
        seed: of the drawn boxes.
    """

    kind: Crop = "center"
    count: int = 1
    scale: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class DatasetSettings:
    """A folder of pictures with captions beside them.

    Args:
        path: the folder.
        resolutions: each R makes one copy of the set with areas of at most R x R pixels, never upscaled.
        num_repeats: how often every picture is seen in an epoch.
        default_caption: the caption of a picture without a caption file, or with an empty one.
        captions_file: one file with the captions of all pictures, JSON or JSONL; None looks for a `metadata.jsonl`.
        caption_extension: the ending of caption files, with or without its dot.
        caption_dropout: the probability that a caption becomes empty in a step.
        flip_horizontal: mirror every second draw on average.
        cache_latents: keep latents on disk instead of encoding at every step.
        trigger_word: what `[trigger]` stands for; put in front of captions that lack it.
        caption_rule: how captions change from draw to draw.
        trigger_only: whether captions are dropped altogether: every one becomes the trigger word, or nothing.
        mask: which parts of the pictures count; None: all of them.
        crop: which part of a picture that does not fit its bucket is kept.
        bucket_step: bucket sides are multiples of this many pixels.
        square: one square bucket per resolution instead of the pictures' own aspects.
        flip_vertical: turn every second draw upside down (mirrored top to bottom) on average.
        lora_weight: strength of the LoRA while it learns these pictures; 1 is as it will be used, below 0 the opposite.
        loss_multiplier: factor on the loss of these pictures.
        regularization: pictures that hold the model in place, whose captions get no trigger word put in front:
            `pictures` are learned as they are, `prior` asks for the model's own prediction without the LoRA.
        class_word: replaces the trigger word in captions whose prediction is preserved; None preserves none.
        preserves_blank: whether the prediction for the empty caption is preserved instead.

    Raises:
        DataError: a value is out of its range.
    """

    path: Path
    resolutions: tuple[int, ...]
    num_repeats: int = 1
    default_caption: str = ""
    captions_file: Path | None = None
    caption_extension: str = "txt"
    caption_dropout: float = 0.05
    flip_horizontal: bool = False
    cache_latents: bool = True
    trigger_word: str = ""
    caption_rule: CaptionRule = AS_WRITTEN
    trigger_only: bool = False
    mask: MaskSettings | None = None
    crop: CropRule = CropRule()
    bucket_step: int = 16
    square: bool = False
    flip_vertical: bool = False
    lora_weight: float = 1.0
    loss_multiplier: float = 1.0
    regularization: Regularization | None = None
    class_word: str | None = None
    preserves_blank: bool = False

    @property
    def drawn_triggers(self) -> tuple[str, ...]:
        """The words of which one stands for `[trigger]` in a draw; "" alone where there is none."""
        return self.caption_rule.random_triggers or (self.trigger_word.strip(),)

    @property
    def known_triggers(self) -> tuple[str, ...]:
        """Every word that counts as the trigger word where a caption holds it."""
        words = (self.trigger_word.strip(), *self.caption_rule.random_triggers)
        return tuple(word for word in dict.fromkeys(words) if word)

    def __post_init__(self) -> None:
        if not self.resolutions:
            self._refuse("no resolution is given", "name at least one, such as 512, 768 or 1024.")
        if (smallest := min(self.resolutions)) < MIN_SIDE:
            self._refuse(f"resolution {smallest} is below {MIN_SIDE} pixels", "use 512, 768 or 1024.")
        if self.num_repeats < 1:
            self._refuse(
                f"num_repeats is {self.num_repeats}, expected 1 or more",
                "1 sees every picture once an epoch.",
            )
        if not 0 <= self.caption_dropout <= 1:
            self._refuse(f"caption_dropout is {self.caption_dropout}, expected 0 to 1", "0.05 is a good start.")
        if not self.lora_weight:
            self._refuse("lora_weight is 0, at which nothing is learned", "1 is the usual strength.")
        if not self.loss_multiplier > 0:
            self._refuse(
                f"loss_multiplier is {self.loss_multiplier:g}, expected more than 0",
                "1 is usual, 0.5 counts the set half.",
            )
        self._check_captions()
        if self.class_word is not None and self.preserves_blank:
            self._refuse("class_word and preserves_blank are both set", "preserve one or the other.")

    def _check_captions(self) -> None:
        rule = self.caption_rule
        if not 0 <= rule.token_dropout < 1:
            self._refuse(f"token_dropout is {rule.token_dropout}, expected 0 to below 1", "0.1 is a good start.")
        if rule.keep_tokens < 0 or (rule.keep_tokens and not rule.changes_tokens):
            self._refuse(f"keep_tokens is {rule.keep_tokens}, but no tokens are shuffled or left out", "leave it at 0.")
        if rule.changes_tokens and not (rule.separator.strip() and 2 <= rule.versions <= MAX_VERSIONS):
            self._refuse(
                f"captions are varied in {rule.versions} versions at {rule.separator!r}",
                f"use 2 to {MAX_VERSIONS} versions and a separator such as a comma.",
            )
        if rule.random_triggers and self.regularization:
            self._refuse("a regularization set has random triggers", "leave them out: it gets no trigger word.")

    def _refuse(self, message: str, fix: str) -> None:
        raise DataError(message, where=str(self.path), fix=fix)

"""One dataset folder and how it is to be used, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slipstream.core.errors import DataError

MIN_SIDE = 64
"""The shortest side (pixels) that a picture may have in training."""


@dataclass(frozen=True)
class DatasetSettings:
    """A folder of pictures with captions beside them.

    Args:
        path: the folder.
        resolutions: each R makes one copy of the set with areas of at most R x R pixels, never upscaled.
        num_repeats: how often every picture is seen in an epoch.
        default_caption: the caption of a picture without a caption file, or with an empty one.
        caption_extension: the ending of caption files, with or without its dot.
        caption_dropout: the probability that a caption becomes empty in a step.
        flip_horizontal: mirror every second draw on average.
        cache_latents: keep latents on disk instead of encoding at every step.
        trigger_word: what `[trigger]` stands for; put in front of captions that lack it.

    Raises:
        DataError: a value is out of its range.
    """

    path: Path
    resolutions: tuple[int, ...]
    num_repeats: int = 1
    default_caption: str = ""
    caption_extension: str = "txt"
    caption_dropout: float = 0.05
    flip_horizontal: bool = False
    cache_latents: bool = True
    trigger_word: str = ""

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

    def _refuse(self, message: str, fix: str) -> None:
        raise DataError(message, where=str(self.path), fix=fix)

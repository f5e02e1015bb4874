"""What is amiss with single pictures and captions of a dataset, one `Finding` each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slipstream.data.buckets import Bucket
from slipstream.data.captions import CaptionSource, has_any_word, has_placeholder
from slipstream.data.crops import Box, cropped_fraction
from slipstream.data.dataset import Dataset, Example
from slipstream.data.looks import Look, encode_veil
from slipstream.data.masks import open_mask
from slipstream.data.scan import ImageFile
from slipstream.data.settings import DatasetSettings

LARGE_CROP = 0.1
"""A picture that loses more than this share of its area to a bucket is worth a look."""

BLURRED = 80.0
"""Sharpness below this is blur: sharp photographs and drawings have several hundred."""

SMALL = 0.8
"""Share of the smallest resolution's area below which a picture counts as small."""

VERY_DARK = 0.25
VERY_BRIGHT = 0.75
LOW_CONTRAST = 0.2

FindingKind = Literal[
    "duplicate", "blurred", "dark", "bright", "flat", "small", "cropped", "unmasked",
    "no caption", "long caption", "same caption",
]  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing about one picture: a kind to filter by and a sentence."""

    kind: FindingKind
    text: str


@dataclass(frozen=True)
class PictureFacts:
    """One usable picture of one folder.

    Attributes:
        folder: its place among the report's folders.
        name: path within its folder.
        caption: as trained.
        has_trigger: whether its written caption holds `[trigger]` or the word; None where there is no trigger word.
        num_tokens: of its caption, with the model's template around it; None where no tokenizer was at hand.
        places: its buckets, each with the boxes that draws choose from and the share of the picture that they cut off.
        look: what it looks like; None where pictures were not looked at.
        veil: a WebP that darkens what its mask leaves out; None without a mask.
        findings: what is amiss.
    """

    folder: int
    path: Path
    name: str
    width: int
    height: int
    content_hash: str
    caption: str
    caption_source: CaptionSource
    has_trigger: bool | None
    num_tokens: int | None
    places: tuple[tuple[Bucket, tuple[Box, ...], float], ...]
    look: Look | None
    veil: bytes | None
    findings: tuple[Finding, ...] = ()

    @property
    def worst_place(self) -> tuple[Bucket, tuple[Box, ...], float]:
        """The bucket that cuts off the most."""
        return max(self.places, key=lambda place: place[2])


def picture_facts(
    dataset: Dataset, looks: Mapping[Path, Look], count_tokens: Callable[[str], int] | None
) -> list[PictureFacts]:
    """Every picture that is trained on, by folder and name, without findings yet."""
    left_out = {skipped.path for skipped in dataset.skipped}
    examples: dict[int, list[Example]] = {}
    for example in dataset.examples:
        examples.setdefault(id(example.image), []).append(example)
    return [
        _facts(number, scan.settings, image, examples[id(image)], looks, count_tokens)
        for number, scan in enumerate(dataset.folders)
        for image in scan.images
        if image.path not in left_out
    ]


def _facts(
    folder: int, settings: DatasetSettings, image: ImageFile, examples: Sequence[Example],
    looks: Mapping[Path, Look], count_tokens: Callable[[str], int] | None,
) -> PictureFacts:  # fmt: skip
    look = looks.get(image.path)
    return PictureFacts(
        folder=folder,
        path=image.path,
        name=image.path.relative_to(settings.path).as_posix(),
        width=image.width,
        height=image.height,
        content_hash=image.content_hash,
        caption=image.caption,
        caption_source=image.caption_source,
        has_trigger=_has_trigger(image.written_caption, settings),
        num_tokens=count_tokens(image.caption) if count_tokens is not None else None,
        places=tuple((example.bucket, example.crops, crop_share(example)) for example in examples),
        look=look,
        veil=encode_veil(open_mask(image.mask)) if image.mask is not None and look is not None else None,
    )


def _has_trigger(written: str, settings: DatasetSettings) -> bool | None:
    words = tuple(word for word in settings.known_triggers if word)
    if not words or settings.regularization is not None:
        return None
    return has_placeholder(written) or has_any_word(written, words)


def is_small(width: int, height: int, settings: DatasetSettings) -> bool:
    """Whether a picture falls clearly short of the smallest resolution it is to be trained at."""
    return width * height < SMALL * min(settings.resolutions) ** 2


def crop_share(example: Example) -> float:
    """The share of its picture that an example cuts off, mean over its crops."""
    shares = [cropped_fraction(example.image.width, example.image.height, box) for box in example.crops]
    return sum(shares) / len(shares)


def findings_of(
    picture: PictureFacts, settings: DatasetSettings, shared: Counter[str], max_tokens: int
) -> list[Finding]:
    """What is amiss with a picture by itself; `shared` counts the captions of its folder."""
    return [
        *_size_findings(picture, settings),
        *(_look_findings(picture.look) if picture.look is not None else ()),
        *_caption_findings(picture, shared, max_tokens),
    ]


def _size_findings(picture: PictureFacts, settings: DatasetSettings) -> Iterator[Finding]:
    if is_small(picture.width, picture.height, settings):
        yield Finding("small", f"smaller than {min(settings.resolutions)}×{min(settings.resolutions)}")
    bucket, _, share = picture.worst_place
    if share > LARGE_CROP:
        yield Finding("cropped", f"bucket {bucket} cuts off {share:.0%}")
    if settings.mask is not None and picture.veil is None and picture.look is not None:
        yield Finding("unmasked", "no mask: it counts all over")


def _look_findings(look: Look) -> Iterator[Finding]:
    if look.brightest < VERY_DARK:
        yield Finding("dark", f"very dark: 99 % is below {look.brightest:.0%}")
    if look.darkest > VERY_BRIGHT:
        yield Finding("bright", f"very bright: 99 % is above {look.darkest:.0%}")
    contrast = look.brightest - look.darkest
    if contrast < LOW_CONTRAST:
        yield Finding("flat", f"low contrast: its tones span {contrast:.0%}")
    elif look.sharpness < BLURRED:
        yield Finding("blurred", f"looks blurred: sharpness {look.sharpness:.0f}")


def _caption_findings(picture: PictureFacts, shared: Counter[str], max_tokens: int) -> Iterator[Finding]:
    if picture.caption_source == "none":
        yield Finding("no caption", "no caption, no default")
    elif picture.caption_source in ("file", "list") and shared[picture.caption] > 1:
        yield Finding("same caption", f"{shared[picture.caption]} pictures have this caption")
    if picture.num_tokens is not None and picture.num_tokens > max_tokens:
        yield Finding("long caption", f"{picture.num_tokens} tokens: what is past {max_tokens} is cut off")

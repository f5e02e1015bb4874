"""A dataset: folders scanned, pictures in buckets. One `Example` per picture and bucket."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from slipstream.core.errors import DataError
from slipstream.data.buckets import Bucket, choose_buckets
from slipstream.data.caption_rules import split_tokens
from slipstream.data.caption_variants import CaptionVariant, caption_variants, dropped_variants
from slipstream.data.crops import Box, View, crop_boxes
from slipstream.data.masks import shows_something
from slipstream.data.scan import FolderScan, ImageFile, OnPicture, Skipped, scan_folder
from slipstream.data.settings import MIN_SIDE, DatasetSettings, Regularization


@dataclass(frozen=True)
class Example:
    """A picture in one bucket.

    Args:
        index: its place in `Dataset.examples`.
        folder: the place of its dataset in `Dataset.folders`.
        captions: every form in which its caption is trained.
        dropped_captions: what stands in the place of each form when the caption is dropped.
        lora_weight: strength of the LoRA in its batches.
        loss_multiplier: factor on its loss.
        regularization: None for what is to be learned.
        crops: the parts of the picture that draws choose from.
    """

    index: int
    folder: int
    image: ImageFile
    bucket: Bucket
    captions: tuple[CaptionVariant, ...]
    dropped_captions: tuple[CaptionVariant, ...]
    caption_dropout: float
    num_repeats: int
    flip_horizontal: bool
    cache_latents: bool
    lora_weight: float
    loss_multiplier: float
    regularization: Regularization | None
    flip_vertical: bool
    crops: tuple[Box, ...]

    @property
    def views(self) -> tuple[View, ...]:
        """Every view that a draw can take."""
        mirrors = (False, True) if self.flip_horizontal else (False,)
        turns = (False, True) if self.flip_vertical else (False,)
        crops = range(len(self.crops))
        return tuple(View(flipped, turned, crop) for crop in crops for turned in turns for flipped in mirrors)

    @property
    def caption(self) -> str:
        """Its caption as trained, trigger word included; the first form where it has several."""
        return self.captions[0].text

    @property
    def dropped_caption(self) -> str:
        """What stands in its place when the caption is dropped: the trigger word, or nothing."""
        return self.dropped_captions[0].text

    def caption_at(self, variant: int, dropped: bool) -> CaptionVariant:
        """The caption of a draw."""
        return (self.dropped_captions if dropped else self.captions)[variant]

    def possible_captions(self) -> tuple[CaptionVariant, ...]:
        """All that draws can meet."""
        return self.captions + (self.dropped_captions if self.caption_dropout > 0 else ())


@dataclass(frozen=True)
class Dataset:
    """Everything a run trains on.

    Args:
        examples: by folder, picture, rising resolution.
        folders: the scans, one per dataset given.
        skipped: every file left out of training, pictures that are too small included.
        warnings: what looks like a mistake, one line each.
        num_images: pictures that are trained on, each counted once per folder.
        num_repeated: buckets left out because a lower resolution gave the picture the same one.
        needs_blank_caption: whether training asks for the empty caption besides those of the draws.
    """

    examples: tuple[Example, ...]
    folders: tuple[FolderScan, ...]
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]
    num_images: int
    num_repeated: int
    needs_blank_caption: bool = False

    @property
    def samples_per_epoch(self) -> int:
        """Examples with their repeats."""
        return sum(example.num_repeats for example in self.examples)

    def captions(self) -> list[str]:
        """Every caption that training can meet, sorted; those that replace dropped ones and preserved ones too."""
        variants = {variant for example in self.examples for variant in example.possible_captions()}
        preserved = {variant.preserved for variant in variants if variant.preserved is not None}
        blank = {""} if self.needs_blank_caption else set()
        return sorted({variant.text for variant in variants} | preserved | blank)

    def bucket_table(self) -> list[tuple[Bucket, int, int]]:
        """(bucket, examples, samples per epoch) by rising size."""
        examples: Counter[Bucket] = Counter(example.bucket for example in self.examples)
        samples: Counter[Bucket] = Counter()
        for example in self.examples:
            samples[example.bucket] += example.num_repeats
        order = sorted(examples, key=lambda bucket: (bucket.width * bucket.height, bucket))
        return [(bucket, examples[bucket], samples[bucket]) for bucket in order]


def build_dataset(
    settings: Sequence[DatasetSettings], needs_blank_caption: bool = False, on_picture: OnPicture | None = None
) -> Dataset:
    """Scan folders and sort their pictures into buckets.

    Args:
        settings: one per folder.
        needs_blank_caption: the empty caption is asked for besides those of the draws.
        on_picture: told of every usable picture.

    Raises:
        DataError: no folder is given, one cannot be used, all its pictures are too small, a crop leaves nothing
            that its mask lets count, or the folders preserve different captions.
        CaptionError: a caption file cannot be read.
    """
    if not settings:
        raise DataError("no dataset is given", fix="name at least one folder of pictures.")
    if len({(one.class_word, one.preserves_blank) for one in settings}) > 1:
        raise DataError("the datasets preserve different captions", fix="give all of them the same class word.")
    examples: list[Example] = []
    skipped: list[Skipped] = []
    warnings: list[str] = []
    num_images = num_repeated = 0
    folders = tuple(scan_folder(one, on_picture=on_picture) for one in settings)
    for number, scan in enumerate(folders):
        before = len(examples)
        too_small, notes, repeated = _sort_into_buckets(number, scan, examples)
        if len(examples) == before:
            raise _all_too_small(scan, too_small)
        skipped += [*scan.skipped, *too_small]
        warnings += [*scan.warnings, *notes]
        num_images += len(scan.images) - len(too_small)
        num_repeated += repeated
    return Dataset(
        tuple(examples), folders, tuple(skipped), tuple(warnings), num_images, num_repeated, needs_blank_caption
    )


def _sort_into_buckets(number: int, scan: FolderScan, examples: list[Example]) -> tuple[list[Skipped], list[str], int]:
    """Append the folder's examples; returns pictures too small for any bucket, warnings, repeated buckets."""
    settings = scan.settings
    too_small: list[Skipped] = []
    notes: list[str] = []
    repeats: Counter[int] = Counter()
    for image in scan.images:
        choice = choose_buckets(image.width, image.height, settings.resolutions, settings.bucket_step, settings.square)
        size = f"{image.width}x{image.height} pixels"
        if not choice.buckets:
            reason = f"{size}: every bucket would be shorter than {MIN_SIDE} on a side"
            too_small.append(Skipped(image.path, reason))
        elif choice.too_small:
            listed = ", ".join(map(str, choice.too_small))
            notes.append(f"{image.path}: {size}, left out at {listed}: a side would be shorter than {MIN_SIDE}")
        repeats.update(choice.repeated)
        captions = caption_variants(image, settings)
        for bucket in choice.buckets:
            examples.append(_example((len(examples), number), image, bucket, settings, captions))
    notes += _caption_notes(scan)
    for resolution, count in sorted(repeats.items()):
        notes.append(
            f"{scan.settings.path}: {count} of {len(scan.images)} pictures have no more pixels for "
            f"{resolution} than for a lower resolution: used once, not twice"
        )
    return too_small, notes, repeats.total()


def _example(
    place: tuple[int, int],
    image: ImageFile,
    bucket: Bucket,
    settings: DatasetSettings,
    captions: tuple[CaptionVariant, ...],
) -> Example:
    index, folder = place
    return Example(
        index=index,
        folder=folder,
        image=image,
        bucket=bucket,
        captions=captions,
        dropped_captions=dropped_variants(settings),
        caption_dropout=settings.caption_dropout,
        num_repeats=settings.num_repeats,
        flip_horizontal=settings.flip_horizontal,
        cache_latents=settings.cache_latents,
        lora_weight=settings.lora_weight,
        loss_multiplier=settings.loss_multiplier,
        regularization=settings.regularization,
        flip_vertical=settings.flip_vertical,
        crops=_crops(image, bucket, settings),
    )


def _caption_notes(scan: FolderScan) -> list[str]:
    rule = scan.settings.caption_rule
    if not rule.changes_tokens or scan.settings.trigger_only:
        return []
    if any(len(split_tokens(image.written_caption, rule.separator)) > 1 for image in scan.images):
        return []
    return [f"{scan.settings.path}: no caption holds {rule.separator!r}, so each is one token and nothing is shuffled"]


def _crops(image: ImageFile, bucket: Bucket, settings: DatasetSettings) -> tuple[Box, ...]:
    """The boxes of a picture in a bucket, without those in which its mask lets nothing count."""
    boxes = crop_boxes(image.width, image.height, bucket, settings.crop, image.content_hash)
    if image.mask is None:
        return boxes
    size, mask = (image.width, image.height), image.mask
    kept = tuple(box for box in boxes if shows_something(box, size, mask))
    if not kept:
        raise DataError(
            f"bucket {bucket} cuts away everything that the mask lets count",
            where=str(image.path), fix="crop the picture around it yourself, or set crop, square or mask.minimum.",
        )  # fmt: skip
    return kept


def _all_too_small(scan: FolderScan, too_small: Sequence[Skipped]) -> DataError:
    listed = "; ".join(f"{skipped.path.name}: {skipped.reason}" for skipped in too_small[:3])
    return DataError(
        f"none of the {len(too_small)} pictures is large enough: {listed}",
        where=str(scan.settings.path), fix="use larger or less narrow pictures, or a higher resolution.",
    )  # fmt: skip

"""The dataset report: plain facts about folders, captions and buckets, for a door to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipstream.data.buckets import Bucket
from slipstream.data.crops import cropped_fraction
from slipstream.data.dataset import Dataset, Example
from slipstream.data.sampler import BucketSampler
from slipstream.data.scan import FolderScan, ImageFile, Skipped

FEW_IMAGES = 10
MANY_IMAGES = 50
LARGE_CROP = 0.1
"""A picture that loses more than this share of its area to a bucket is worth a look."""


@dataclass(frozen=True)
class CaptionFacts:
    """Captions as trained, trigger word included. Lengths are in characters.

    `duplicates` holds (caption, pictures) of captions that several pictures share; `too_long` pictures whose
    captions have more tokens than the text encoder takes, None where no tokenizer was at hand.
    """

    from_file: int
    from_default: int
    missing: tuple[Path, ...]
    shortest: str
    longest: str
    mean_length: float
    duplicates: tuple[tuple[str, int], ...]
    too_long: tuple[Path, ...] | None


@dataclass(frozen=True)
class FolderFacts:
    """One folder: usable pictures, range of sizes, captions, and pictures smaller than every resolution."""

    path: Path
    num_images: int
    num_skipped: int
    smallest: tuple[int, int]
    largest: tuple[int, int]
    below_smallest_resolution: tuple[Path, ...]
    captions: CaptionFacts


@dataclass(frozen=True)
class BucketFacts:
    """One bucket: examples, samples per epoch, and the share of their pictures that it cuts off."""

    bucket: Bucket
    examples: int
    samples: int
    mean_crop: float
    worst_crop: float
    worst_path: Path


@dataclass(frozen=True)
class DatasetReport:
    """What `dataset check` shows. `steps_per_epoch` counts batches of `batch_size`."""

    folders: tuple[FolderFacts, ...]
    buckets: tuple[BucketFacts, ...]
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]
    advice: tuple[str, ...]
    num_images: int
    num_examples: int
    num_repeated: int
    samples_per_epoch: int
    batch_size: int
    steps_per_epoch: int


def check_dataset(
    dataset: Dataset, batch_size: int, count_tokens: Callable[[str], int] | None = None, max_tokens: int = 512
) -> DatasetReport:
    """Look at a dataset as training will use it.

    Args:
        dataset: the dataset.
        batch_size: samples per micro step.
        count_tokens: the text encoder's count of a caption's tokens, uncut.
        max_tokens: where the text encoder cuts captions.
    """
    skipped = {skipped.path for skipped in dataset.skipped}
    folders = tuple(_folder_facts(scan, skipped, count_tokens, max_tokens) for scan in dataset.folders)
    buckets = tuple(_bucket_facts(dataset, *row) for row in dataset.bucket_table())
    return DatasetReport(
        folders=folders,
        buckets=buckets,
        skipped=dataset.skipped,
        warnings=dataset.warnings,
        advice=tuple(_advice(dataset, folders, buckets)),
        num_images=dataset.num_images,
        num_examples=len(dataset.examples),
        num_repeated=dataset.num_repeated,
        samples_per_epoch=dataset.samples_per_epoch,
        batch_size=batch_size,
        steps_per_epoch=BucketSampler(dataset, batch_size, seed=0).batches_per_epoch,
    )


def _folder_facts(
    scan: FolderScan, skipped: set[Path], count_tokens: Callable[[str], int] | None, max_tokens: int
) -> FolderFacts:
    images = [image for image in scan.images if image.path not in skipped]
    by_area = sorted(images, key=lambda image: image.width * image.height)
    least = min(scan.settings.resolutions) ** 2
    return FolderFacts(
        path=scan.settings.path,
        num_images=len(images),
        num_skipped=len(scan.skipped) + len(scan.images) - len(images),
        smallest=(by_area[0].width, by_area[0].height),
        largest=(by_area[-1].width, by_area[-1].height),
        below_smallest_resolution=tuple(image.path for image in images if image.width * image.height < least),
        captions=_caption_facts(images, count_tokens, max_tokens),
    )


def _caption_facts(
    images: Sequence[ImageFile], count_tokens: Callable[[str], int] | None, max_tokens: int
) -> CaptionFacts:
    captions = [image.caption for image in images]
    too_long = None
    if count_tokens is not None:
        too_long = tuple(image.path for image in images if count_tokens(image.caption) > max_tokens)
    return CaptionFacts(
        from_file=sum(image.caption_source in ("file", "list") for image in images),
        from_default=sum(image.caption_source == "default" for image in images),
        missing=tuple(image.path for image in images if image.caption_source == "none"),
        shortest=min(captions, key=len),
        longest=max(captions, key=len),
        mean_length=sum(map(len, captions)) / len(captions),
        duplicates=tuple((caption, count) for caption, count in Counter(captions).most_common() if count > 1),
        too_long=too_long,
    )


def _bucket_facts(dataset: Dataset, bucket: Bucket, examples: int, samples: int) -> BucketFacts:
    def crop(example: Example) -> float:
        shares = [cropped_fraction(example.image.width, example.image.height, box) for box in example.crops]
        return sum(shares) / len(shares)

    members = [example for example in dataset.examples if example.bucket == bucket]
    worst = max(members, key=crop)
    mean = sum(map(crop, members)) / len(members)
    return BucketFacts(bucket, examples, samples, mean, crop(worst), worst.image.path)


def _advice(dataset: Dataset, folders: Sequence[FolderFacts], buckets: Sequence[BucketFacts]) -> list[str]:
    lines = []
    if dataset.num_images < FEW_IMAGES:
        lines.append(
            f"{dataset.num_images} pictures are few: 10 to 30 varied ones learn better; "
            "with fewer than 10, 1500 to 2200 steps keep the LoRA from memorising them"
        )
    if dataset.num_images > MANY_IMAGES:
        lines.append(f"{dataset.num_images} pictures: beyond about 50, more help only where they add variety")
    for folder in folders:
        if folder.below_smallest_resolution:
            lines.append(
                f"{folder.path}: {len(folder.below_smallest_resolution)} pictures have fewer pixels than the "
                "smallest resolution: they are trained at their own size, never scaled up"
            )
        if folder.captions.missing:
            lines.append(f"{folder.path}: {len(folder.captions.missing)} pictures have neither a caption nor a default")
        if folder.captions.too_long:
            lines.append(f"{folder.path}: {len(folder.captions.too_long)} captions are too long and will be cut")
    lines += [
        f"{facts.worst_path}: bucket {facts.bucket} cuts off {facts.worst_crop:.0%} of it"
        for facts in buckets
        if facts.worst_crop > LARGE_CROP
    ]
    return lines

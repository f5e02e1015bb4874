"""The dataset report: plain facts about folders, pictures, captions and buckets, for a door to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slipstream.data.buckets import Bucket
from slipstream.data.check_advice import Kind, give_advice
from slipstream.data.dataset import Dataset
from slipstream.data.duplicates import Candidate, DuplicateGroup, find_duplicates
from slipstream.data.findings import Finding, PictureFacts, crop_share, findings_of, is_small, picture_facts
from slipstream.data.looks import Look
from slipstream.data.sampler import BucketSampler
from slipstream.data.scan import FolderScan, Skipped


@dataclass(frozen=True)
class CaptionFacts:
    """Captions as trained, trigger word included. Lengths are in characters.

    `duplicates` holds (caption, pictures) of captions that several pictures share; `too_long` pictures whose
    captions have more tokens than the text encoder takes, None where no tokenizer was at hand; `with_trigger`
    counts written captions that hold the trigger word or its placeholder, None where there is no such word.
    """

    from_file: int
    from_default: int
    missing: tuple[Path, ...]
    shortest: str
    longest: str
    mean_length: float
    duplicates: tuple[tuple[str, int], ...]
    too_long: tuple[Path, ...] | None
    with_trigger: int | None


@dataclass(frozen=True)
class FolderFacts:
    """One folder: usable pictures, range of sizes, captions, and pictures clearly smaller than every resolution."""

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
    """What `dataset check` shows.

    Attributes:
        num_distinct: pictures, each group of near-duplicates counted once; equal to `num_images` where pictures
            were not looked at.
        steps_per_epoch: batches of `batch_size`.
        tokenizer: what counted tokens; "" where nothing did.
        kind: of LoRA that the advice is for.
    """

    folders: tuple[FolderFacts, ...]
    pictures: tuple[PictureFacts, ...]
    duplicates: tuple[DuplicateGroup, ...]
    buckets: tuple[BucketFacts, ...]
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]
    advice: tuple[str, ...]
    num_images: int
    num_distinct: int
    num_examples: int
    num_repeated: int
    samples_per_epoch: int
    batch_size: int
    steps_per_epoch: int
    max_tokens: int
    tokenizer: str
    kind: Kind | None


def check_dataset(
    dataset: Dataset,
    batch_size: int,
    count_tokens: Callable[[str], int] | None = None,
    max_tokens: int = 512,
    *,
    looks: Mapping[Path, Look] | None = None,
    kind: Kind | None = None,
    tokenizer: str = "",
) -> DatasetReport:
    """Look at a dataset as training will use it.

    Args:
        dataset: the dataset.
        batch_size: samples per micro step.
        count_tokens: the text encoder's count of a caption's tokens, uncut.
        max_tokens: where the text encoder cuts captions.
        looks: what its pictures look like, by path; without them duplicates, blur and tones stay unknown.
        kind: of LoRA, for the advice.
        tokenizer: names what `count_tokens` counts with.
    """
    facts = picture_facts(dataset, looks or {}, count_tokens)
    duplicates = _duplicates(facts)
    pictures = _with_findings(dataset, facts, duplicates, max_tokens)
    skipped = {one.path for one in dataset.skipped}
    folders = tuple(
        _folder_facts(scan, [one for one in pictures if one.folder == number], skipped, max_tokens)
        for number, scan in enumerate(dataset.folders)
    )
    buckets = tuple(_bucket_facts(dataset, *row) for row in dataset.bucket_table())
    copies = sum(len({twin.path for twin in group.twins}) - 1 for group in duplicates)
    report = DatasetReport(
        folders=folders,
        pictures=pictures,
        duplicates=duplicates,
        buckets=buckets,
        skipped=dataset.skipped,
        warnings=dataset.warnings,
        advice=(),
        num_images=dataset.num_images,
        num_distinct=dataset.num_images - copies,
        num_examples=len(dataset.examples),
        num_repeated=dataset.num_repeated,
        samples_per_epoch=dataset.samples_per_epoch,
        batch_size=batch_size,
        steps_per_epoch=BucketSampler(dataset, batch_size, seed=0).batches_per_epoch,
        max_tokens=max_tokens,
        tokenizer=tokenizer,
        kind=kind,
    )
    return replace(report, advice=tuple(give_advice(report)))


def _duplicates(facts: Sequence[PictureFacts]) -> tuple[DuplicateGroup, ...]:
    # a folder given twice, say with other resolutions, is no duplicate of itself
    by_path = {one.path: one for one in facts}.values()
    candidates = [
        Candidate(one.path, one.width * one.height, one.content_hash, one.look)
        for one in by_path
        if one.look is not None
    ]
    return find_duplicates(candidates)


def _with_findings(
    dataset: Dataset, facts: Sequence[PictureFacts], duplicates: Sequence[DuplicateGroup], max_tokens: int
) -> tuple[PictureFacts, ...]:
    settings = [scan.settings for scan in dataset.folders]
    shared = [Counter(one.caption for one in facts if one.folder == number) for number in range(len(settings))]
    twins = {twin.path: group for group in duplicates for twin in group.twins}
    found = []
    for one in facts:
        findings = findings_of(one, settings[one.folder], shared[one.folder], max_tokens)
        if one.path in twins:
            count = len(twins[one.path].twins) - 1
            findings.insert(0, Finding("duplicate", f"like {count} other picture{'s' if count > 1 else ''}"))
        found.append(replace(one, findings=tuple(findings)))
    return tuple(found)


def _folder_facts(
    scan: FolderScan, pictures: Sequence[PictureFacts], skipped: set[Path], max_tokens: int
) -> FolderFacts:
    images = [image for image in scan.images if image.path not in skipped]
    by_area = sorted(images, key=lambda image: image.width * image.height)
    return FolderFacts(
        path=scan.settings.path,
        num_images=len(images),
        num_skipped=len(scan.skipped) + len(scan.images) - len(images),
        smallest=(by_area[0].width, by_area[0].height),
        largest=(by_area[-1].width, by_area[-1].height),
        below_smallest_resolution=tuple(
            image.path for image in images if is_small(image.width, image.height, scan.settings)
        ),
        captions=_caption_facts(pictures, max_tokens),
    )


def _caption_facts(pictures: Sequence[PictureFacts], max_tokens: int) -> CaptionFacts:
    captions = [one.caption for one in pictures]
    counts = [(one.path, one.num_tokens) for one in pictures if one.num_tokens is not None]
    triggers = [one.has_trigger for one in pictures if one.has_trigger is not None]
    return CaptionFacts(
        from_file=sum(one.caption_source in ("file", "list") for one in pictures),
        from_default=sum(one.caption_source == "default" for one in pictures),
        missing=tuple(one.path for one in pictures if one.caption_source == "none"),
        shortest=min(captions, key=len),
        longest=max(captions, key=len),
        mean_length=sum(map(len, captions)) / len(captions),
        duplicates=tuple((caption, count) for caption, count in Counter(captions).most_common() if count > 1),
        too_long=tuple(path for path, count in counts if count > max_tokens) if counts else None,
        with_trigger=sum(triggers) if triggers else None,
    )


def _bucket_facts(dataset: Dataset, bucket: Bucket, examples: int, samples: int) -> BucketFacts:
    members = [example for example in dataset.examples if example.bucket == bucket]
    worst = max(members, key=crop_share)
    mean = sum(map(crop_share, members)) / len(members)
    return BucketFacts(bucket, examples, samples, mean, crop_share(worst), worst.image.path)

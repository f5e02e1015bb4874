"""What a dataset report advises: how many pictures, how varied, and what to mend first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from slipstream.data.findings import LARGE_CROP

if TYPE_CHECKING:
    from slipstream.data.check import DatasetReport, FolderFacts

Kind = Literal["character", "style"]

FEW_IMAGES = 10
MANY_IMAGES = 50
_USUAL = {None: (10, 30), "character": (12, 30), "style": (15, 40)}
_TONES = ("dark", "bright", "flat")
_VARIETY = {
    None: "varied ones",
    "character": "of the same subject: near and whole figure, several angles, lights and outfits",
    "style": "in that style over unlike subjects: people, rooms, landscapes, things",
}
_CAPTIONS = {
    "character": "captions of a character may be literal and alike in form: name what changes (pose, clothes, place), "
    "so that it does not become part of the character",
    "style": "captions of a style say what is to be seen and little about how it is drawn, so that the style needs no "
    "words; describe it only where it should come with the trigger word alone",
}


def give_advice(report: DatasetReport) -> Iterator[str]:
    """One sentence per piece of advice, the weightiest first."""
    yield from _number(report)
    if report.duplicates:
        in_groups = sum(len(group.twins) for group in report.duplicates)
        yield (
            f"{in_groups} pictures are near-duplicates in {len(report.duplicates)} groups: what they show is "
            f"learned several times over; keep the best of each, {report.num_distinct} pictures remain"
        )
    for folder in report.folders:
        yield from _folder(folder, report.max_tokens)
    yield from _looks(report)
    yield from _buckets(report)
    if report.kind is not None:
        yield _CAPTIONS[report.kind]


def _number(report: DatasetReport) -> Iterator[str]:
    count, (low, high) = report.num_distinct, _USUAL[report.kind]
    what = f"{count} pictures" if count == report.num_images else f"{count} different pictures"
    usual = f"{low} to {high} {_VARIETY[report.kind]}"
    if count < FEW_IMAGES:
        yield (
            f"{what} are few: {usual} learn better; "
            "with fewer than 10, 1500 to 2200 steps keep the LoRA from memorising them"
        )
    elif count < low:
        yield f"{what} are few for a {report.kind}: better are {usual}"
    elif count > MANY_IMAGES:
        yield f"{what}: beyond about 50, more help only where they add variety"
    elif count > high and report.kind is not None:
        yield f"{what} are more than a {report.kind} needs ({low} to {high}): keep those that add variety"


def _folder(folder: FolderFacts, max_tokens: int) -> Iterator[str]:
    captions = folder.captions
    if folder.below_smallest_resolution:
        yield (
            f"{folder.path}: {_have(len(folder.below_smallest_resolution))} fewer pixels than the smallest "
            "resolution: nothing is scaled up, so training sees no more of it"
        )
    if captions.missing:
        yield f"{folder.path}: {_have(len(captions.missing))} neither a caption nor a default"
    if captions.too_long:
        yield f"{folder.path}: {_many(len(captions.too_long), 'caption')} too long and cut at {max_tokens} tokens"
    alike = sum(count for _, count in captions.duplicates)
    if captions.from_file >= 4 and alike >= folder.num_images / 2:
        yield f"{folder.path}: {alike} of {folder.num_images} captions are shared by several pictures: say what differs"
    if captions.with_trigger is not None and 0 < captions.with_trigger < folder.num_images:
        others = folder.num_images - captions.with_trigger
        yield (
            f"{folder.path}: {captions.with_trigger} of {folder.num_images} captions hold the trigger word; it is put "
            f"in front of the other {others}"
        )


def _looks(report: DatasetReport) -> Iterator[str]:
    counts = Counter(finding.kind for picture in report.pictures for finding in picture.findings)
    if counts["blurred"]:
        yield f"{_many(counts['blurred'], 'picture')} blurred: a LoRA learns blur as faithfully as anything else"
    odd = sum(any(finding.kind in _TONES for finding in picture.findings) for picture in report.pictures)
    if odd:
        yield f"{_many(odd, 'picture')} very dark, very bright or flat: leave such out unless this is the style"


def _have(count: int) -> str:
    return "1 picture has" if count == 1 else f"{count} pictures have"


def _many(count: int, what: str) -> str:
    return f"1 {what} is" if count == 1 else f"{count} {what}s are"


def _buckets(report: DatasetReport) -> Iterator[str]:
    large = [facts for facts in report.buckets if facts.worst_crop > LARGE_CROP]
    for facts in large:
        yield f"{facts.worst_path}: bucket {facts.bucket} cuts off {facts.worst_crop:.0%} of it"
    lonely = [facts for facts in report.buckets if facts.samples < report.batch_size]
    if lonely:
        yield (
            f"{len(lonely)} of {len(report.buckets)} buckets have fewer pictures than a batch of {report.batch_size}, "
            "which repeats them: a larger bucket_step, square buckets or num_repeats help"
        )

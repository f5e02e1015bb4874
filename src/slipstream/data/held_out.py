"""Pictures kept out of training: chosen by content, so that no file name and no order decides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from slipstream.core.errors import DataError
from slipstream.core.hashing import hash_text
from slipstream.data.dataset import Dataset, Example, build_dataset
from slipstream.data.scan import FolderScan
from slipstream.data.settings import CropRule, DatasetSettings


def choose_held_out(dataset: Dataset, fraction: float) -> frozenset[str]:
    """Content hashes of a share of the pictures, at least one: those whose hashes rank first.

    Adding or removing a picture changes the choice by at most one picture, and equal pictures go together. Pictures of
    regularization sets, and of sets that teach the opposite, are not chosen, and no folder is emptied.

    Raises:
        DataError: no folder has a second picture.
    """
    used = {example.image.content_hash for example in dataset.examples}
    folders = [{image.content_hash for image in scan.images} & used for scan in dataset.folders]
    teaches = [scan.settings.regularization is None and scan.settings.lora_weight > 0 for scan in dataset.folders]
    guarded = {content for folder, on in zip(folders, teaches, strict=True) if not on for content in folder}
    candidates = sorted(used - guarded, key=lambda content: hash_text("held out", content))
    wanted = max(1, round(fraction * len(candidates)))
    chosen: set[str] = set()
    for content in candidates:
        if len(chosen) < wanted and all(folder - chosen - {content} for folder in folders):
            chosen.add(content)
    if not chosen:
        raise DataError(
            "no picture can be held out: every folder has only one", where="training.validation.fraction",
            fix="add pictures, give training.validation.path instead, or leave validation out.",
        )  # fmt: skip
    return frozenset(chosen)


def without(dataset: Dataset, contents: Collection[str], where: str) -> Dataset:
    """The dataset that is left to train on.

    Args:
        dataset: all pictures.
        contents: content hashes of those held out.
        where: the setting that holds them out, for the message.

    Raises:
        DataError: a folder has nothing left.
    """
    kept = [example for example in dataset.examples if example.image.content_hash not in contents]
    paths = {example.image.path for example in kept}
    for scan in dataset.folders:
        if paths.isdisjoint(image.path for image in scan.images):
            raise DataError(
                f"all pictures of {scan.settings.path} are held out, so nothing is left to train on", where=where,
                fix="measure on other pictures than those you train on.",
            )  # fmt: skip
    folders = tuple(_thinned(scan, lambda content: content not in contents) for scan in dataset.folders)
    return replace(dataset, examples=_numbered(kept), folders=folders, num_images=_num_images(kept))


def measured_part(dataset: Dataset, contents: Collection[str] | None = None) -> Dataset:
    """The pictures to measure on (all, or those of the given hashes): each once, in its largest bucket, as it is.

    The first of its captions and crops counts; nothing is mirrored, repeated or dropped.
    """
    largest: dict[str, Example] = {}
    for example in dataset.examples:
        content = example.image.content_hash
        if contents is not None and content not in contents:
            continue
        known = largest.get(content)
        if known is None or _area(example) > _area(known):
            largest[content] = example
    plain = [
        replace(
            example,
            captions=example.captions[:1],
            dropped_captions=example.dropped_captions[:1],
            caption_dropout=0.0,
            num_repeats=1,
            flip_horizontal=False,
            flip_vertical=False,
            crops=example.crops[:1],
        )
        for example in largest.values()
    ]
    folders = tuple(_thinned(scan, largest.__contains__) for scan in dataset.folders)
    return replace(
        dataset, examples=_numbered(plain), folders=folders, skipped=(), warnings=(), num_images=_num_images(plain),
        num_repeated=0, needs_blank_caption=False,
    )  # fmt: skip


def read_folder(like: DatasetSettings, changes: dict[str, object]) -> Dataset:
    """A folder of pictures to measure on, read as the dataset `like` is; `changes` names the folder and what differs.

    Raises:
        DataError: the folder cannot be used.
        CaptionError: a caption file is not text in UTF-8.
    """
    plain = {
        "num_repeats": 1, "caption_dropout": 0.0, "regularization": None, "mask": None, "crop": CropRule(),
        "lora_weight": 1.0, "loss_multiplier": 1.0, "class_word": None, "preserves_blank": False, "captions_file": None,
    }  # fmt: skip
    return build_dataset([replace(like, **{**plain, **changes})])  # type: ignore[arg-type]


def _numbered(examples: Iterable[Example]) -> tuple[Example, ...]:
    return tuple(replace(example, index=index) for index, example in enumerate(examples))


def _thinned(scan: FolderScan, stays: Callable[[str], bool]) -> FolderScan:
    return replace(scan, images=tuple(image for image in scan.images if stays(image.content_hash)))


def _num_images(examples: Iterable[Example]) -> int:
    return len({example.image.path for example in examples})


def _area(example: Example) -> int:
    return example.bucket.width * example.bucket.height

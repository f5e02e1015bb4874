"""Views of pictures read for an encoder: in batches of one bucket, each file opened once for all its buckets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from slipstream.data.background import num_cores, read_ahead
from slipstream.data.buckets import Bucket
from slipstream.data.cache import latent_key
from slipstream.data.crops import View, covered_box
from slipstream.data.dataset import Dataset, Example
from slipstream.data.scan import reopen
from slipstream.data.transforms import from_levels, to_levels, transform_identity

_PIXELS_A_READ = 8 << 20
"""Pixels that one opened picture gives at most at a time; one with many crops is opened again for more."""


@dataclass(frozen=True)
class Pace:
    """How pictures pass an encoder.

    Attributes:
        pixels_at_once: pixels of a batch, which has one picture at least.
        num_readers: threads that open and scale pictures.
    """

    pixels_at_once: int
    num_readers: int


def pace_on(device: torch.device) -> Pace:
    """On CUDA 2 megapixels at a time, read by many threads; on the CPU one picture at a time, read by one thread.

    There a batch gains little (larger ones even lose), and cached latents are bit for bit those of uncached pictures.
    """
    if device.type == "cuda":
        return Pace(2 << 20, max(1, min(8, num_cores() - 2)))
    return Pace(1, 1)


@dataclass(frozen=True)
class Entry:
    """One latent to have: a view of an example, under its cache key."""

    key: str
    example: Example
    view: View


def example_key(example: Example, view: View, identity: str) -> str:
    """The cache key of one view of an example."""
    box = example.crops[view.crop]
    centred = box == covered_box(example.image.width, example.image.height, example.bucket)
    transform = transform_identity(example.bucket, view.flipped, view.upside_down, None if centred else box)
    return latent_key(example.image.content_hash, transform, identity)


def example_pixels(picture: Image.Image, example: Example, view: View) -> Tensor:
    """Pixels (3, H, W) of one view of an example's opened picture."""
    return from_levels(torch.from_numpy(_levels(picture, example, view))[None])[0]


def entries_of(dataset: Dataset, identity: str) -> list[Entry]:
    """Every view of the examples with `cache_latents`."""
    return [
        Entry(example_key(example, view, identity), example, view)
        for example in dataset.examples
        if example.cache_latents
        for view in example.views
    ]


def batches_by_bucket(entries: Sequence[Entry], pixels_at_once: int) -> list[list[Entry]]:
    """The entries of each bucket in parts of equal size as far as they go, identical pictures once."""
    unique: dict[str, Entry] = {}
    for entry in entries:
        unique.setdefault(entry.key, entry)
    by_bucket: dict[Bucket, list[Entry]] = defaultdict(list)
    for entry in unique.values():
        by_bucket[entry.example.bucket].append(entry)
    batches = []
    for bucket, members in by_bucket.items():
        size = max(1, pixels_at_once // (bucket.width * bucket.height))
        batches += [members[start : start + size] for start in range(0, len(members), size)]
    return batches


def read_batches(
    batches: Sequence[Sequence[Entry]], num_readers: int
) -> Generator[tuple[Sequence[Entry], Tensor], None, None]:
    """(batch, levels (B, H, W, 3)) as soon as a batch is complete; each picture is opened once for all its buckets."""
    batch_of = {entry.key: number for number, batch in enumerate(batches) for entry in batch}
    entries = sorted((entry for batch in batches for entry in batch), key=lambda entry: entry.example.index)
    waiting: dict[int, list[NDArray[np.uint8]]] = defaultdict(list)
    reads = read_ahead(_read_views, _reads(entries), num_threads=num_readers, num_ahead=2 * num_readers)
    with closing(reads):
        for read, levels in reads:
            for entry, levels_HW3 in zip(read, levels, strict=True):
                number = batch_of[entry.key]
                waiting[number].append(levels_HW3)
                if len(waiting[number]) == len(batches[number]):
                    yield batches[number], torch.from_numpy(np.stack(waiting.pop(number)))


def _reads(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """The entries of one picture after the other, which stand together; a picture with very many comes in parts."""
    for _, group in groupby(entries, key=lambda entry: entry.example.image):
        part: list[Entry] = []
        pixels = 0
        for entry in group:
            part.append(entry)
            pixels += entry.example.bucket.width * entry.example.bucket.height
            if pixels >= _PIXELS_A_READ:
                yield part
                part, pixels = [], 0
        if part:
            yield part


def _read_views(entries: list[Entry]) -> tuple[list[Entry], list[NDArray[np.uint8]]]:
    """The levels of views of one picture; runs in a thread, so it leaves torch and its threads alone."""
    picture = reopen(entries[0].example.image)
    return entries, [_levels(picture, entry.example, entry.view) for entry in entries]


def _levels(picture: Image.Image, example: Example, view: View) -> NDArray[np.uint8]:
    return to_levels(picture, example.bucket, view.flipped, view.upside_down, example.crops[view.crop])

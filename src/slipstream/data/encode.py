"""Filling the caches: every picture and caption that is missing is encoded once, by the functions given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from PIL import Image
from torch import Tensor

from slipstream.core.errors import DataError
from slipstream.data.cache import TensorCache, latent_key, text_key
from slipstream.data.crops import View, covered_box
from slipstream.data.dataset import Dataset, Example
from slipstream.data.scan import reopen
from slipstream.data.transforms import to_pixels, transform_identity

_CAPTIONS_AT_ONCE = 8


@dataclass(frozen=True)
class CacheReport:
    """How many entries were found in the cache and how many were encoded."""

    hits: int
    encoded: int


@dataclass(frozen=True)
class _Entry:
    """One latent to have: one view of an example."""

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
    return to_pixels(picture, example.bucket, view.flipped, view.upside_down, example.crops[view.crop])


def count_missing_latents(dataset: Dataset, identity: str, cache: TensorCache) -> int:
    """How many latents `encode_latents` would encode."""
    return len(_missing_entries(_entries(dataset, identity), cache))


def count_missing_captions(captions: Sequence[str], identity: str, cache: TensorCache) -> int:
    """How many captions `encode_captions` would encode."""
    return len(_missing_captions(captions, identity, cache))


def encode_latents(
    dataset: Dataset,
    encode_images: Callable[[Tensor], Tensor],
    identity: str,
    cache: TensorCache,
    on_progress: Callable[[int, int], None],
) -> CacheReport:
    """Encode what the cache lacks of the examples with `cache_latents`, every view of them.

    Args:
        dataset: its pictures are opened again, one at a time.
        encode_images: pixels (1, 3, H, W) in [-1, 1] to latents (1, C, h, w).
        identity: names the encoder, weights and precision.
        cache: gets one tensor (C, h, w) per entry.
        on_progress: called with (done, total) of the missing ones.

    Raises:
        DataError: a picture vanished or changed, or its latents are not finite.
    """
    entries = _entries(dataset, identity)
    missing = _missing_entries(entries, cache)
    for done, (entry, latents) in enumerate(_encoded(missing, encode_images), start=1):
        cache.put(entry.key, latents)
        on_progress(done, len(missing))
    return CacheReport(len(entries) - len(missing), len(missing))


def encode_captions(
    captions: Sequence[str],
    encode_texts: Callable[[list[str]], list[Tensor]],
    identity: str,
    cache: TensorCache,
    on_progress: Callable[[int, int], None],
) -> CacheReport:
    """Encode the captions that the cache lacks, a few at a time.

    Raises:
        DataError: the features of a caption are not finite.
    """
    missing = _missing_captions(captions, identity, cache)
    for start in range(0, len(missing), _CAPTIONS_AT_ONCE):
        batch = missing[start : start + _CAPTIONS_AT_ONCE]
        for caption, features in zip(batch, encode_texts(list(batch)), strict=True):
            _require_finite(features, f"the features of the caption {caption!r}", None)
            cache.put(text_key(caption, identity), features)
        on_progress(start + len(batch), len(missing))
    return CacheReport(len(captions) - len(missing), len(missing))


def encode_example(pixels_3HW: Tensor, encode_images: Callable[[Tensor], Tensor], example: Example) -> Tensor:
    """Latents (C, h, w) of one example's pixels.

    Raises:
        DataError: they are not finite.
    """
    latents = encode_images(pixels_3HW[None])[0]
    _require_finite(latents, "the latents of this picture", str(example.image.path))
    return latents


def _entries(dataset: Dataset, identity: str) -> list[_Entry]:
    return [
        _Entry(example_key(example, view, identity), example, view)
        for example in dataset.examples
        if example.cache_latents
        for view in example.views
    ]


def _missing_entries(entries: Sequence[_Entry], cache: TensorCache) -> list[_Entry]:
    """Those not in the cache, identical pictures once."""
    unique = {entry.key: entry for entry in entries}
    return [entry for entry in unique.values() if not cache.has(entry.key)]


def _missing_captions(captions: Sequence[str], identity: str, cache: TensorCache) -> list[str]:
    return [caption for caption in dict.fromkeys(captions) if not cache.has(text_key(caption, identity))]


def _encoded(entries: Sequence[_Entry], encode_images: Callable[[Tensor], Tensor]) -> Iterator[tuple[_Entry, Tensor]]:
    # a picture's entries stand together, so each file is decoded once for all its buckets
    for image, group in groupby(entries, key=lambda entry: entry.example.image):
        picture = reopen(image)
        for entry in group:
            pixels = example_pixels(picture, entry.example, entry.view)
            yield entry, encode_example(pixels, encode_images, entry.example)


def _require_finite(values: Tensor, what: str, where: str | None) -> None:
    if not torch.isfinite(values).all():
        raise DataError(
            f"{what} are not finite, so training on them would fail",
            where=where, fix="the encoder overflows: run it in bfloat16 or float32, or leave this entry out.",
        )  # fmt: skip

"""Filling the caches: every picture and caption that is missing is encoded once, by the functions given.

Pictures of one bucket, and captions of about one length, pass their encoder together, while the next pictures are
read and the last results are written in the background. Which entries share a batch follows from all entries that are
asked for, not from those that are missing: a filling that was interrupted and goes on makes the bits that it would
have made at once. Beyond that, a neighbour changes an entry's last bits at most (an encoder's kernels may add up
otherwise at another batch size), and what lies in the cache stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from slipstream.core.errors import DataError
from slipstream.data.background import WriteBehind, to_device, to_host
from slipstream.data.cache import TensorCache, text_key
from slipstream.data.dataset import Dataset, Example
from slipstream.data.pixel_batches import Entry, Pace, batches_by_bucket, entries_of, pace_on, read_batches
from slipstream.data.transforms import from_levels

CPU = torch.device("cpu")
Item = TypeVar("Item")

_CAPTIONS_AT_ONCE = 8
_BATCHES_BEHIND = 2
"""Batches that may be under way on the device or wait to be written: enough that the device never waits."""


@dataclass(frozen=True)
class CacheReport:
    """How many entries were found in the cache and how many were encoded."""

    hits: int
    encoded: int


def count_missing_latents(dataset: Dataset, identity: str, cache: TensorCache) -> int:
    """How many latents `encode_latents` would encode."""
    return len(cache.missing(entry.key for entry in entries_of(dataset, identity)))


def count_missing_captions(captions: Sequence[str], identity: str, cache: TensorCache) -> int:
    """How many captions `encode_captions` would encode."""
    return len(cache.missing(text_key(caption, identity) for caption in captions))


def encode_latents(
    dataset: Dataset,
    encode_images: Callable[[Tensor], Tensor],
    identity: str,
    cache: TensorCache,
    on_progress: Callable[[int, int], None],
    device: torch.device = CPU,
    pace: Pace | None = None,
) -> CacheReport:
    """Encode what the cache lacks of the examples with `cache_latents`, every view of them.

    Args:
        dataset: its pictures are opened again, each once for all its buckets.
        encode_images: pixels (B, 3, H, W) in [-1, 1] on the device to latents (B, C, h, w).
        identity: names the encoder, weights and precision.
        cache: gets one tensor (C, h, w) per entry.
        on_progress: called with (done, total) of the missing ones.
        device: where the encoder wants its pixels.
        pace: how many pictures at once; None asks `pace_on`.

    Raises:
        DataError: a picture vanished or changed, or its latents are not finite.
    """
    entries = entries_of(dataset, identity)
    pace = pace_on(device) if pace is None else pace
    missing = cache.missing(entry.key for entry in entries)
    batches = [
        batch
        for batch in batches_by_bucket(entries, pace.pixels_at_once)
        if any(entry.key in missing for entry in batch)
    ]

    def encoded() -> Iterator[tuple[list[Entry], list[Tensor]]]:
        for batch, levels_BHW3 in pictures:
            latents_BCHW = encode_images(from_levels(to_device(levels_BHW3, device)))
            yield _those_missing(batch, list(latents_BCHW), lambda entry: entry.key in missing)

    def write(entry: Entry, latents: Tensor, finite: bool) -> None:
        _require_finite(finite, "the latents of this picture", str(entry.example.image.path))
        cache.put(entry.key, latents)

    with closing(read_batches(batches, pace.num_readers)) as pictures:
        _write_all(encoded(), write, len(missing), on_progress)
    return CacheReport(len(entries) - len(missing), len(missing))


def encode_captions(
    captions: Sequence[str],
    encode_texts: Callable[[list[str]], list[Tensor]],
    identity: str,
    cache: TensorCache,
    on_progress: Callable[[int, int], None],
    batches_of: Callable[[list[str]], list[list[str]]] | None = None,
) -> CacheReport:
    """Encode the captions that the cache lacks.

    Args:
        captions: all that must be in the cache.
        encode_texts: captions to features (tokens, T), on any device.
        identity: names the encoder, weights and precision.
        cache: gets one tensor (tokens, T) per caption.
        on_progress: called with (done, total) of the missing ones.
        batches_of: which captions pass the encoder together; None takes a few in a row.

    Raises:
        DataError: the features of a caption are not finite.
    """
    keys = {caption: text_key(caption, identity) for caption in captions}
    missing = cache.missing(keys.values())
    if not missing:
        return CacheReport(len(captions), 0)
    batches = (batches_of or _a_few_in_a_row)(list(keys))

    def encoded() -> Iterator[tuple[list[str], list[Tensor]]]:
        for batch in batches:
            if any(keys[caption] in missing for caption in batch):
                yield _those_missing(batch, encode_texts(list(batch)), lambda caption: keys[caption] in missing)

    def write(caption: str, features: Tensor, finite: bool) -> None:
        _require_finite(finite, f"the features of the caption {caption!r}", None)
        cache.put(keys[caption], features)

    _write_all(encoded(), write, len(missing), on_progress)
    return CacheReport(len(captions) - len(missing), len(missing))


def encode_example(pixels_3HW: Tensor, encode_images: Callable[[Tensor], Tensor], example: Example) -> Tensor:
    """Latents (C, h, w) of one example's pixels, on the CPU.

    Raises:
        DataError: they are not finite.
    """
    latents = encode_images(pixels_3HW[None])[0].cpu()
    _require_finite(bool(torch.isfinite(latents).all()), "the latents of this picture", str(example.image.path))
    return latents


def _those_missing(
    batch: Sequence[Item], results: Sequence[Tensor], missing: Callable[[Item], bool]
) -> tuple[list[Item], list[Tensor]]:
    """What of a batch's results goes into the cache: its other members were there already."""
    kept = [number for number, item in enumerate(batch) if missing(item)]
    return [batch[number] for number in kept], [results[number] for number in kept]


def _write_all(
    batches: Iterable[tuple[Sequence[Item], Sequence[Tensor]]], write: Callable[[Item, Tensor, bool], None],
    total: int, on_progress: Callable[[int, int], None],
) -> None:  # fmt: skip
    """Write the results of batches while the next ones are made, and tell of each that is written."""
    told = 0

    def tell(written: Iterable[int]) -> None:
        nonlocal told
        for count in written:
            for _ in range(count):
                told += 1
                on_progress(told, total)

    with WriteBehind[int](_BATCHES_BEHIND) as writer:
        for items, results in batches:
            # looked at where the results are: a thread of its own would start torch's threads a second time
            finite = torch.stack([torch.isfinite(result).all() for result in results])
            writer.submit(partial(_write_batch, items, to_host([*results, finite]), write))
            tell(writer.done())
        tell(writer.drain())


def _write_batch(
    items: Sequence[Item], arrived: Callable[[], list[Tensor]], write: Callable[[Item, Tensor, bool], None]
) -> int:
    *results, finite = arrived()
    for item, values, good in zip(items, results, finite.tolist(), strict=True):
        write(item, values, good)
    return len(items)


def _require_finite(finite: bool, what: str, where: str | None) -> None:
    if not finite:
        raise DataError(
            f"{what} are not finite, so training on them would fail",
            where=where, fix="the encoder overflows: run it in bfloat16 or float32, or leave this entry out.",
        )  # fmt: skip


def _a_few_in_a_row(captions: list[str]) -> list[list[str]]:
    return [captions[start : start + _CAPTIONS_AT_ONCE] for start in range(0, len(captions), _CAPTIONS_AT_ONCE)]

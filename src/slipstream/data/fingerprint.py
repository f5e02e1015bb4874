"""A dataset's fingerprint: equal for equal training data, wherever the folder lies."""

from __future__ import annotations

from slipstream.core.hashing import hash_text
from slipstream.data.dataset import Dataset


def dataset_fingerprint(dataset: Dataset) -> str:
    """Hex hash of the examples in order: picture bytes, captions, buckets, repeats, flips, dropout."""
    facts: list[str] = []
    for example in dataset.examples:
        facts += [
            example.image.content_hash,
            example.caption,
            example.dropped_caption,
            str(example.bucket),
            str(example.num_repeats),
            str(example.flip_horizontal),
            repr(float(example.caption_dropout)),
        ]
    return hash_text("dataset", *facts)

"""A dataset's fingerprint: equal for equal training data, wherever the folder lies."""

from __future__ import annotations

from slipstream.core.hashing import hash_text
from slipstream.data.dataset import Dataset


def dataset_fingerprint(dataset: Dataset) -> str:
    """Hex hash of the examples in order: picture bytes, captions, buckets, repeats, flips, weights."""
    facts: list[str] = []
    for example in dataset.examples:
        facts += [
            example.image.content_hash,
            repr([(caption.text, caption.preserved) for caption in example.captions]),
            repr([(caption.text, caption.preserved) for caption in example.dropped_captions]),
            str(example.bucket),
            str(example.num_repeats),
            str(example.flip_horizontal),
            repr(float(example.caption_dropout)),
            repr(float(example.lora_weight)),
            repr(float(example.loss_multiplier)),
            str(example.regularization),
        ]
    return hash_text("dataset", *facts)

"""A dataset's fingerprint: equal for equal training data, wherever the folder lies."""

from __future__ import annotations

from slipstream.core.hashing import hash_text
from slipstream.data.crops import covered_box
from slipstream.data.dataset import Dataset, Example


def dataset_fingerprint(dataset: Dataset) -> str:
    """Hex hash of the examples in order: picture bytes, captions, buckets, repeats, flips, weights, crops, masks."""
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
            *_view_facts(example),
        ]
    return hash_text("dataset", *facts)


def _view_facts(example: Example) -> list[str]:
    """What is not as usual about crops, mirrors and masks: nothing for a centred, unmasked picture."""
    image = example.image
    facts: list[str] = []
    if example.flip_vertical:
        facts.append("flip_vertical")
    if example.crops != (covered_box(image.width, image.height, example.bucket),):
        facts.append(f"crops {example.crops}")
    if image.mask is not None:
        settings = image.mask.settings
        reading = (settings.source, settings.invert, float(settings.minimum), float(settings.prior_weight))
        facts.append(f"mask {image.mask.content_hash} {reading}")
    return facts

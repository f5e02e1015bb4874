"""What the datasets come to: lines for `plan` and the log, values for the manifest; and doubtful captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from slipstream.data.dataset import Dataset
from slipstream.data.settings import DatasetSettings
from slipstream.models.z_image.loading import load_tokenizer
from slipstream.models.z_image.resolve import ModelParts
from slipstream.models.z_image.text import MAX_TOKENS, num_tokens

MANY_CAPTIONS = 2000
_TEMPLATE_TOKENS = 32
"""More than the chat template adds to a caption."""
_SOURCES = {"list": "from the captions file", "file": "from files", "default": "default", "none": "missing"}


def dataset_facts(dataset: Dataset) -> list[dict[str, Any]]:
    """Every dataset's share of an epoch and how it counts, in the order of the config."""
    samples: Counter[int] = Counter()
    examples: Counter[int] = Counter()
    sources: dict[int, dict[Any, str]] = {number: {} for number in range(len(dataset.folders))}
    for example in dataset.examples:
        samples[example.folder] += example.num_repeats
        examples[example.folder] += 1
        sources[example.folder][example.image.path] = example.image.caption_source
    return [
        {
            "name": scan.settings.path.name,
            "images": len(sources[number]),
            "examples": examples[number],
            "num_repeats": scan.settings.num_repeats,
            "samples_per_epoch": samples[number],
            "share": round(samples[number] / samples.total(), 4),
            "captions": dict(Counter(sources[number].values())),
            "lora_weight": scan.settings.lora_weight,
            "loss_multiplier": scan.settings.loss_multiplier,
            "regularization": scan.settings.regularization,
        }
        for number, scan in enumerate(dataset.folders)
    ]


def num_learned(dataset: Dataset) -> int:
    """Pictures that show what is to be learned: those of regularization sets do not count."""
    return sum(facts["images"] for facts in dataset_facts(dataset) if facts["regularization"] is None)


def dataset_lines(dataset: Dataset) -> list[str]:
    """One line per dataset: pictures, share of the epoch, captions, and what is unusual about it."""
    lines = []
    for facts, scan in zip(dataset_facts(dataset), dataset.folders, strict=True):
        captions = ", ".join(f"{count} {_SOURCES[source]}" for source, count in sorted(facts["captions"].items()))
        parts = [
            f"{facts['images']} pictures, {facts['samples_per_epoch']} samples an epoch ({facts['share']:.0%})",
            f"captions: {captions}",
            *_unusual(scan.settings),
        ]
        lines.append(f"dataset {facts['name']}: {'; '.join(parts)}")
    return lines


def caption_warnings(captions: Sequence[str], parts: ModelParts) -> Iterator[str]:
    """Captions that the text encoder cuts, and more captions than anyone wants to wait for.

    The tokenizer is loaded only where a caption has enough bytes to be too long: a token is a byte or more.
    """
    suspects = [caption for caption in captions if len(caption.encode()) > MAX_TOKENS - _TEMPLATE_TOKENS]
    if suspects:
        tokenizer = load_tokenizer(parts.paths["tokenizer"])
        counts = {caption: num_tokens(tokenizer, caption) for caption in suspects}
        cut = {caption: count for caption, count in counts.items() if count > MAX_TOKENS}
        if cut:
            worst = max(cut, key=cut.__getitem__)
            yield (
                f"{len(cut)} captions or prompts are longer than {MAX_TOKENS} tokens, so their ends are cut off; the "
                f"longest has {cut[worst]}: {worst[:60]!r}..."
            )
    if len(captions) > MANY_CAPTIONS:
        yield (
            f"{len(captions)} different captions have to be encoded: caption_variants and random_triggers multiply them"
        )


def _unusual(settings: DatasetSettings) -> Iterator[str]:
    rule = settings.caption_rule
    if settings.trigger_only:
        yield "not learned: only the trigger word is"
    elif rule.changes_tokens:
        ways = [way for way, on in (("shuffled", rule.shuffle), ("thinned out", rule.token_dropout > 0)) if on]
        yield f"{' and '.join(ways)} in {rule.num_versions} versions each"
    if rule.random_triggers:
        yield f"called up by {', '.join(rule.random_triggers)}"
    yield from _views(settings)
    if settings.num_repeats > 1:
        yield f"{settings.num_repeats} repeats"
    if settings.lora_weight != 1:
        yield f"LoRA weight {settings.lora_weight:g}"
    if settings.loss_multiplier != 1:
        yield f"loss x {settings.loss_multiplier:g}"
    if settings.regularization == "pictures":
        yield "regularization: no trigger word put in front"
    if settings.regularization == "prior":
        yield "regularization: held to what the model predicts without the LoRA"


def _views(settings: DatasetSettings) -> Iterator[str]:
    """What is unusual about crops, mirrors and masks."""
    mirrors = [
        way for way, on in (("sideways", settings.flip_horizontal), ("upside down", settings.flip_vertical)) if on
    ]
    if mirrors:
        yield f"mirrored {' and '.join(mirrors)}"
    if settings.square:
        yield "square buckets"
    if settings.crop.kind == "top":
        yield "tall pictures are cut at the bottom"
    if settings.crop.kind == "random":
        nearer = f", as near as {settings.crop.scale:g} of their size" if settings.crop.scale < 1 else ""
        yield f"{settings.crop.count} random crops{nearer}"
    if settings.mask is not None:
        source = "their alpha channels" if settings.mask.path is None else settings.mask.path.name
        yield f"masked by {source}{', inverted' if settings.mask.invert else ''}"

"""The order of training: which examples, how cropped and mirrored, with which caption, make up each batch.

A pure function of (seed, micro step). There is no state to save: a resumed run asks for its next micro step.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

from slipstream.core.seeding import derive_seed
from slipstream.data.buckets import Bucket
from slipstream.data.crops import View
from slipstream.data.dataset import Dataset, Example


@dataclass(frozen=True)
class Draw:
    """One sample of a batch: `dropped` trains it without its caption, `caption_variant` names the caption's form."""

    example_index: int
    flipped: bool
    dropped: bool
    caption_variant: int = 0
    upside_down: bool = False
    crop: int = 0

    @property
    def view(self) -> View:
        """How it shows its example."""
        return View(self.flipped, self.upside_down, self.crop)


class BucketSampler:
    """Batches of one group each, always full, every sample at least once an epoch.

    A group is what can stand in one batch: one bucket and one LoRA weight. An epoch shuffles the samples
    (examples times repeats) of each group, cuts them into batches, and shuffles the batches of all groups. A
    group whose samples do not fill its last batch completes it with further draws from a fresh shuffle of the
    same group, those not yet in that batch first. These extra draws are the only samples seen more often than
    their repeats say: fewer than `batch_size` per group and epoch.

    Args:
        dataset: its examples.
        batch_size: samples per micro step.
        seed: of the job.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected 1 or more")
        self._examples = dataset.examples
        self._batch_size = batch_size
        self._seed = seed
        self._groups = _samples_by_group(dataset)
        self.batches_per_epoch = sum(-(-len(samples) // batch_size) for samples in self._groups)
        self._epoch = lru_cache(maxsize=4)(self._shuffled_epoch)

    def draw(self, micro_step: int) -> tuple[Draw, ...]:
        """The batch of a micro step (0-based), `batch_size` draws; costs at most one shuffle of an epoch."""
        epoch, place = divmod(micro_step, self.batches_per_epoch)
        return tuple(self._draw(index, micro_step, row) for row, index in enumerate(self._epoch(epoch)[place]))

    def _draw(self, index: int, micro_step: int, row: int) -> Draw:
        example = self._examples[index]
        dice = random.Random(derive_seed(self._seed, "data", micro_step, row))
        # both are always thrown, so switching one of them on leaves the other as it was
        heads, chance = dice.random() < 0.5, dice.random()
        flipped, dropped = heads and example.flip_horizontal, chance < example.caption_dropout
        upside_down, crop = self._turn_and_crop(example, micro_step, row)
        return Draw(index, flipped, dropped, self._caption_variant(example, micro_step, row), upside_down, crop)

    def _caption_variant(self, example: Example, micro_step: int, row: int) -> int:
        # dice of its own, so that more forms of captions leave flips and drops as they were
        dice = random.Random(derive_seed(self._seed, "caption", micro_step, row))
        return dice.randrange(len(example.captions))

    def _turn_and_crop(self, example: Example, micro_step: int, row: int) -> tuple[bool, int]:
        dice = random.Random(derive_seed(self._seed, "view", micro_step, row))
        heads, place = dice.random() < 0.5, dice.random()
        return heads and example.flip_vertical, int(place * len(example.crops))

    def _shuffled_epoch(self, epoch: int) -> tuple[tuple[int, ...], ...]:
        dice = random.Random(derive_seed(self._seed, "data", epoch))
        batches = [batch for samples in self._groups for batch in self._batches(samples, dice)]
        dice.shuffle(batches)
        return tuple(batches)

    def _batches(self, samples: tuple[int, ...], dice: random.Random) -> list[tuple[int, ...]]:
        """The samples of one group in full batches."""
        size = self._batch_size
        order = _shuffled(samples, dice)
        last = order[len(order) - len(order) % size :]
        while len(order) % size:
            fresh = sorted(_shuffled(samples, dice), key=last.__contains__)
            order += fresh[: size - len(order) % size]
        return [tuple(order[start : start + size]) for start in range(0, len(order), size)]


def _samples_by_group(dataset: Dataset) -> tuple[tuple[int, ...], ...]:
    """Example indices, each as often as it repeats, per bucket (by rising size) and LoRA weight."""
    groups: dict[tuple[int, Bucket, float], list[int]] = {}
    for example in dataset.examples:
        bucket = example.bucket
        group = groups.setdefault((bucket.width * bucket.height, bucket, example.lora_weight), [])
        group += [example.index] * example.num_repeats
    return tuple(tuple(groups[key]) for key in sorted(groups))


def _shuffled(samples: tuple[int, ...], dice: random.Random) -> list[int]:
    order = list(samples)
    dice.shuffle(order)
    return order

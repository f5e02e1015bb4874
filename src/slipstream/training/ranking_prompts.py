"""What is drawn of every checkpoint that `rank` compares: few small pictures, the same for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from slipstream.config.run_config import RunConfig
from slipstream.config.variants import is_tiny, preview_guidance, preview_steps
from slipstream.core.errors import DataError
from slipstream.data.captions import fill_trigger
from slipstream.data.dataset import Dataset, Example
from slipstream.data.held_out import measured_part
from slipstream.evaluation.leak import without_trigger
from slipstream.evaluation.subjects import subject_prompts
from slipstream.evaluation.unrelated import unrelated_prompts
from slipstream.previews.render import Picture
from slipstream.training.pictures import preview_pictures

Thing = TypeVar("Thing")

FIRST_SEED = 70_000
MOST_CAPTIONS = 24
"""Training captions that the base draws once, to find the way from its own pictures to the training pictures."""
MOST_TRAINING = 200
"""Training pictures that drawn ones are compared with."""
FEWEST_TRAINING = 2


@dataclass(frozen=True)
class Asked:
    """All pictures are squares of `side` pixels.

    Attributes:
        side: in pixels.
        examples: the training pictures that count.
        way: the base draws these training captions once.
        concept: prompts that ask for the concept and were not trained on, several seeds each.
        taught: training captions.
        same: the concept's prompts without the trigger word; empty where there is none.
        unrelated: prompts about something else.
        is_new: whether the run has prompts that ask for the concept and are no training captions; where not,
            `concept` holds training captions too.
    """

    side: int
    examples: tuple[Example, ...]
    way: tuple[Picture, ...]
    concept: tuple[Picture, ...]
    taught: tuple[Picture, ...]
    same: tuple[Picture, ...]
    unrelated: tuple[Picture, ...]
    is_new: bool

    @property
    def of_a_checkpoint(self) -> tuple[Picture, ...]:
        """Everything that is drawn with every LoRA."""
        return (*self.concept, *self.taught, *self.same, *self.unrelated)

    @property
    def captions(self) -> tuple[str, ...]:
        """Every prompt that needs features."""
        pictures = (*self.way, *self.of_a_checkpoint)
        return tuple(dict.fromkeys(text for one in pictures for text in (one.prompt, one.negative_prompt)))


def ask(config: RunConfig, dataset: Dataset, num_prompts: int, num_seeds: int) -> Asked:
    """What to draw for a run: at most `num_prompts` prompts of the concept with `num_seeds` seeds each, and two thirds
    as many of each other kind.

    The concept's prompts are the run's own previews that ask for it (all, where there is no trigger word), and then
    packaged subjects with the trigger word.

    Raises:
        DataError: fewer than two training pictures show what is to be learned.
    """
    tiny = is_tiny(config.model.name_or_path)
    packaged = unrelated_prompts(is_tiny=tiny)
    side, negative = packaged.side, config.sample.negative_prompt
    like = Picture("", negative, side, side, 0, preview_steps(config), preview_guidance(config))
    examples = learned_examples(dataset)
    captions = list(dict.fromkeys(example.caption for example in spread(examples, MOST_CAPTIONS)))
    words = sorted({word for scan in dataset.folders for word in scan.settings.known_triggers})
    previews = preview_pictures(config)
    own = [one.prompt for one in previews if one.has_trigger is not False]
    subjects = [fill_trigger(text, words[0]) for text in subject_prompts(is_tiny=tiny)] if words else []
    new = [text for text in dict.fromkeys([*own, *subjects]) if text not in captions]
    concept = (new or captions)[:num_prompts]
    others = max(2, num_prompts * 2 // 3)
    bare = [without_trigger(text, words) for text in spread(concept, others)] if words else []
    unrelated = [*packaged.prompts, *(one.prompt for one in previews if one.has_trigger is False)]
    unrelated = list(dict.fromkeys(unrelated))
    return Asked(
        side=side,
        examples=tuple(spread(examples, MOST_TRAINING)),
        way=_drawn(like, captions, FIRST_SEED),
        concept=_drawn(like, [text for text in concept for _ in range(num_seeds)], FIRST_SEED + 1000),
        taught=_drawn(like, spread(captions, others), FIRST_SEED + 2000),
        same=_drawn(like, [text for text in bare if text], FIRST_SEED + 3000),
        unrelated=_drawn(like, [unrelated[number % len(unrelated)] for number in range(others)], FIRST_SEED + 4000),
        is_new=bool(new),
    )


def learned_examples(dataset: Dataset) -> tuple[Example, ...]:
    """The pictures that show what is to be learned, each once: none of regularization sets or of negative weight.

    Raises:
        DataError: there are fewer than two.
    """
    contents = {
        example.image.content_hash
        for example in dataset.examples
        if example.regularization is None and example.lora_weight > 0
    }
    examples = measured_part(dataset, contents).examples
    if len(examples) < FEWEST_TRAINING:
        raise DataError(
            f"{len(examples)} training picture is too few to tell the concept from a picture", where="datasets",
            fix="rank a run that was trained on two pictures or more.",
        )  # fmt: skip
    return examples


def spread(things: Sequence[Thing], most: int) -> list[Thing]:
    """At most `most` of the things, evenly spread over all."""
    count = min(max(0, most), len(things))
    return [things[index * len(things) // count] for index in range(count)]


def _drawn(like: Picture, prompts: Sequence[str], first_seed: int) -> tuple[Picture, ...]:
    return tuple(replace(like, prompt=text, seed=first_seed + number) for number, text in enumerate(prompts))

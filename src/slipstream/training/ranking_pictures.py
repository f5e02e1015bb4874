"""Small copies of what a ranking has drawn, for its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from PIL import Image
from torch import Tensor

from slipstream.data.looks import encode_thumbnail
from slipstream.reports.pictures import data_uri
from slipstream.reports.ranking_page import Heading, Pair, RankingPictures, Strip
from slipstream.training.ranking_bench import Bench, Measured
from slipstream.training.ranking_prompts import Asked, spread

_SIDE = 144
_MOST_STRIPS = 16
_MOST_PAIRS = 12


def page_pictures(
    bench: Bench, checkpoints: Mapping[int, Measured], weights: Mapping[float, Measured], recommended: int
) -> RankingPictures:  # fmt: skip
    """The pictures of a few prompts by checkpoint and by weight, and the recommended one's beside training pictures."""
    columns = _columns(bench.asked)
    asked = bench.asked.of_a_checkpoint
    steps = list(checkpoints)
    shown = steps if len(steps) <= _MOST_STRIPS else sorted({*spread(steps, _MOST_STRIPS - 1), recommended})
    base = Strip("the base", None, None, _uris(bench.base_pictures, columns))
    return RankingPictures(
        headings=tuple(Heading(asked[number].prompt, kind) for number, kind in columns),
        checkpoints=(
            base, *(Strip(f"step {step}", step, None, _uris(checkpoints[step].pictures, columns)) for step in shown),
        ),
        weights=tuple(
            Strip(f"weight {weight:.1f}", None, weight, _uris(found.pictures, columns))
            for weight, found in weights.items()
        ),
        pairs=_pairs(bench, checkpoints[recommended]),
    )  # fmt: skip


def _columns(asked: Asked) -> list[tuple[int, str]]:
    """Numbers of the pictures that are shown, and what kind of prompt each has."""
    pictures = asked.of_a_checkpoint
    firsts = {picture.prompt: number for number, picture in reversed(list(enumerate(asked.concept)))}
    starts = list(accumulate((0, len(asked.concept), len(asked.taught), len(asked.same))))
    kinds = {
        "concept": (sorted(firsts.values()), 3),
        "taught": (range(starts[1], starts[2]), 1),
        "same": (range(starts[2], starts[3]), 1),
        "unrelated": (range(starts[3], len(pictures)), 2),
    }
    return [(number, kind) for kind, (numbers, most) in kinds.items() for number in spread(list(numbers), most)]


def _pairs(bench: Bench, found: Measured) -> tuple[Pair, ...]:
    """The pictures nearest to training pictures, the nearest first."""
    order = sorted(range(len(found.nearest)), key=lambda number: found.nearest[number].share)[:_MOST_PAIRS]
    pairs = []
    for number in order:
        nearest = found.nearest[number]
        pairs.append(
            Pair(
                prompt=bench.asked.of_a_checkpoint[number].prompt,
                training=bench.asked.examples[nearest.training].image.path.name,
                share=nearest.share,
                memorised=nearest.memorised,
                drawn=_uri(found.pictures[number]),
                nearest=_uri(bench.levels[nearest.training]),
            )
        )
    return tuple(pairs)


def _uris(pictures: Tensor, columns: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    return tuple(_uri(pictures[number]) for number, _ in columns)


def _uri(levels_3HW: Tensor) -> str:
    picture = Image.fromarray(levels_3HW.permute(1, 2, 0).contiguous().numpy())
    return data_uri(encode_thumbnail(picture, _SIDE))

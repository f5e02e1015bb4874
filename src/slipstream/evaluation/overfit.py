"""Overfit signals in pictures: those that repeat training pictures, and seeds that all give the same one.

(The third is a held-out loss that rises again: `runs.validation.held_out_rise`.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median

import torch
from torch import Tensor

from slipstream.evaluation.picture_distance import PictureFeatures

MEMORISED = 0.5
"""A picture nearer to a training picture than this share of what training pictures keep from each other repeats it."""


@dataclass(frozen=True)
class Nearest:
    """The training picture that a drawn one is nearest to: its number, and their distance in typical distances."""

    training: int
    share: float

    @property
    def memorised(self) -> bool:
        """Whether the drawn picture repeats it."""
        return self.share < MEMORISED


def distances(a: PictureFeatures, b: PictureFeatures) -> Tensor:
    """`paired_distance` of every picture of a set to every one of another of the same size, (len(a), len(b))."""
    squares = [
        torch.cdist(of_a.flatten(1), of_b.flatten(1)).square() / (2 * of_a[0, 0].numel())
        for of_a, of_b in zip(a.levels, b.levels, strict=True)
    ]
    return torch.stack(squares).mean(dim=0)


def typical_distance(training: PictureFeatures) -> float:
    """The median of every training picture's distance to its nearest other one; needs two."""
    between = distances(training, training)
    between.fill_diagonal_(torch.inf)
    return max(1e-9, median(float(row.min()) for row in between))


def nearest_training(drawn: PictureFeatures, training: PictureFeatures, typical: float) -> list[Nearest]:
    """For each drawn picture the nearest training picture."""
    nearest = distances(drawn, training).min(dim=1)
    return [
        Nearest(int(number), float(value) / typical)
        for number, value in zip(nearest.indices, nearest.values, strict=True)
    ]


def diversity(drawn: PictureFeatures, groups: Sequence[Sequence[int]]) -> float:
    """Mean distance of two pictures of one prompt with different seeds; `groups` holds the rows of each prompt."""
    between = distances(drawn, drawn)
    return fmean(float(between[one, other]) for rows in groups for one, other in combinations(rows, 2))

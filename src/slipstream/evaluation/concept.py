"""Concept strength: how far pictures have gone from the base's own towards the training pictures.

What pictures look like is, for each channel of each level of the VAE's encoder (`picture_distance`), its mean and its
spread over the picture, after every place was scaled to length 1: contrast and lightness count little. There one
direction tells the base's own pictures of the training captions
best from the training pictures: Fisher's linear discriminant, with the covariance shrunk towards a multiple of the
identity (Ledoit and Wolf 2004, doi 10.1016/S0047-259X(03)00096-4; here by a fixed share), since there are far fewer
pictures than features. Features in which pictures differ anyway, such as how bright they are, hardly count in it. Along
it 0 is the base's own, 1 the training pictures. Nobody labels anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slipstream.evaluation.picture_distance import PictureFeatures

SHRINKAGE = 0.6
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class ConceptWay:
    """The concept of one run as a direction: `axis_F` measures the share of the way that a change of features goes."""

    axis_F: Tensor

    def gone(self, drawn_BF: Tensor, base_BF: Tensor) -> float:
        """The share of the way that pictures have gone, on average, from the base's of the same prompts and seeds.

        It can exceed 1 (beyond the training pictures) or be negative (away from them).
        """
        return float((drawn_BF.double() - base_BF.double()).mean(dim=0) @ self.axis_F)


def look(features: PictureFeatures) -> Tensor:
    """(B, F) what pictures look like, wherever that is in them."""
    cells = [level.flatten(2) for level in features.levels]
    return torch.cat([part for level in cells for part in (level.mean(dim=2), level.std(dim=2))], dim=1)


def concept_way(base_BF: Tensor, training_CF: Tensor) -> ConceptWay:
    """From features of the base's pictures of the training captions and of the training pictures, two or more each."""
    base, training = base_BF.double(), training_CF.double()
    spread = ((base.var(dim=0) + training.var(dim=0)) / 2).sqrt().clamp(min=_LEAST_SPREAD)
    base, training = base / spread, training / spread
    way = training.mean(dim=0) - base.mean(dim=0)
    inner = torch.cat([base - base.mean(dim=0), training - training.mean(dim=0)])
    rows = inner * ((1 - SHRINKAGE) / len(inner)) ** 0.5
    ridge = SHRINKAGE * float(inner.square().sum()) / inner.numel()
    # (ridge I + R'R)^-1 way by the Woodbury identity: a system as large as there are pictures, not features
    small = torch.eye(len(rows), dtype=rows.dtype) * ridge + rows @ rows.T
    axis = (way - rows.T @ torch.linalg.solve(small, rows @ way)) / ridge
    return ConceptWay(axis / (axis @ way) / spread)

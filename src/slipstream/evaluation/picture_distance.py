"""How far apart pictures are for a net that is there anyway: the model's own VAE encoder.

No download, no training: the encoder knows edges, textures and shapes of pictures, as far as a latent needs them.

Pair by pair the distance is LPIPS' (Zhang et al. 2018, arXiv 1801.03924, equation 1) without its learned weights: at
every place of every level the features are scaled to length 1, and the squared difference is averaged. Between sets it
is Frechet's (see `frechet`), between the means and spreads of every channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from slipstream.evaluation.frechet import frechet_distance

MOST_CELLS = 32
"""A side of the grid on which levels are compared: a shift by less than a cell is no difference."""


@dataclass(frozen=True)
class PictureFeatures:
    """Of a set of pictures in one order.

    Attributes:
        levels: per level of the net (B, channels, h, w), of length 1 at every place before averaging into cells.
        summary_BF: mean and spread over the picture of every channel of every level.
    """

    levels: tuple[Tensor, ...]
    summary_BF: Tensor

    def __len__(self) -> int:
        return len(self.summary_BF)


@torch.no_grad()
def encoder_features(vae: Any, images_BCHW: Tensor) -> PictureFeatures:
    """Features of images in [0, 1] at every level of the VAE's encoder, picture by picture, kept on the CPU in fp32."""
    taken: list[Tensor] = []
    encoder = vae.encoder
    hooks = [part.register_forward_hook(_into(taken)) for part in (*encoder.down_blocks, encoder.mid_block)]
    weight = next(vae.parameters())
    rows = []
    try:
        for image in images_BCHW.split(1):
            taken.clear()
            encoder((image * 2 - 1).to(weight.device, weight.dtype))
            rows.append(_features(taken))
    finally:
        for hook in hooks:
            hook.remove()
    return joined(rows)


def _into(taken: list[Tensor]) -> Callable[[Any, Any, Tensor], None]:
    return lambda module, inputs, output: taken.append(output.float())


def _features(levels: list[Tensor]) -> PictureFeatures:
    cells, summary = [], []
    for level in levels:
        side = (min(level.shape[-2], MOST_CELLS), min(level.shape[-1], MOST_CELLS))
        cells.append(F.adaptive_avg_pool2d(F.normalize(level, dim=1), side).cpu())
        flat = level.flatten(2)
        scale = flat.square().mean().sqrt().clamp(min=1e-6)  # every level counts alike
        summary += [flat.mean(2) / scale, flat.std(2) / scale]
    return PictureFeatures(tuple(cells), torch.cat(summary, dim=1).cpu())


def joined(rows: list[PictureFeatures]) -> PictureFeatures:
    """Several sets as one, in order."""
    levels = zip(*(row.levels for row in rows), strict=True)
    return PictureFeatures(tuple(torch.cat(level) for level in levels), torch.cat([row.summary_BF for row in rows]))


def paired_distance(a: PictureFeatures, b: PictureFeatures) -> Tensor:
    """Distance of every picture to the one at its place in the other set (B,): 0 = the same, 1 = nothing in common."""
    differences = [
        (of_a - of_b).square().sum(1).mean(dim=(1, 2)) / 2 for of_a, of_b in zip(a.levels, b.levels, strict=True)
    ]
    return torch.stack(differences).mean(0)


def set_distance(a: PictureFeatures, b: PictureFeatures) -> float:
    """Frechet distance between two sets of at least two pictures, whatever their order; smaller sets measure larger."""
    return frechet_distance(a.summary_BF, b.summary_BF)

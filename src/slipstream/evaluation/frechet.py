"""Frechet distance between two sets of features (Heusel et al. 2017, arXiv 1706.08500, equation 6)."""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(features_a_BF: Tensor, features_b_BF: Tensor) -> float:
    """|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2) in fp64.

    With centred samples A and B, C_a = A'A and C_b = B'B, so the trace of the root is the sum of the singular values of
    AB', or of the triangles of their QR factors: real, without shrinkage, and as cheap as the smaller of samples and
    features, of which a VAE has thousands.
    """
    a, b = features_a_BF.double().cpu(), features_b_BF.double().cpu()
    centred_a, centred_b = _centred(a), _centred(b)
    triangle_a, triangle_b = (torch.linalg.qr(centred, mode="r").R for centred in (centred_a, centred_b))
    cross = torch.linalg.svdvals(triangle_a @ triangle_b.T).sum()
    spread = centred_a.square().sum() + centred_b.square().sum()
    distance = (a.mean(0) - b.mean(0)).square().sum() + spread - 2 * cross
    return float(distance.clamp(min=0))


def _centred(samples_BF: Tensor) -> Tensor:
    """Samples whose products are their covariance."""
    return (samples_BF - samples_BF.mean(0)) / (len(samples_BF) - 1) ** 0.5

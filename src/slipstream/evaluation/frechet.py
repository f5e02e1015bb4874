"""Frechet distance between two sets of features (Heusel et al. 2017, arXiv 1706.08500, equation 6)."""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(features_a_BF: Tensor, features_b_BF: Tensor) -> float:
    """|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2) in fp64.

    The trace of the root is the sum of the roots of the eigenvalues of C_a^1/2 C_b C_a^1/2, which stays real and needs
    no shrinkage when there are fewer samples than features.
    """
    a, b = features_a_BF.double().cpu(), features_b_BF.double().cpu()
    covariance_a, covariance_b = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(covariance_a)
    root_a = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root_a @ covariance_b @ root_a).clamp(min=0).sqrt().sum()
    distance = (a.mean(0) - b.mean(0)).square().sum() + covariance_a.trace() + covariance_b.trace() - 2 * cross
    return float(distance.clamp(min=0))

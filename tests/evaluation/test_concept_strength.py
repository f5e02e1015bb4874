"""Concept strength, leak and overfitting on made-up features, where the right answer is known."""

from __future__ import annotations

import torch

from slipstream.evaluation.concept import SHRINKAGE, concept_way, look
from slipstream.evaluation.leak import measure_leak, without_trigger
from slipstream.evaluation.overfit import distances, diversity, nearest_training, typical_distance
from slipstream.evaluation.picture_distance import PictureFeatures, paired_distance


def _cloud(count: int, seed: int) -> torch.Tensor:
    """Features that differ a lot in the first of 40 dimensions."""
    features = torch.randn(count, 40, generator=torch.Generator().manual_seed(seed))
    features[:, 0] *= 30
    return features


def _moved(features: torch.Tensor, share: float) -> torch.Tensor:
    way = torch.zeros(40)
    way[5:10] = 3.0
    return features + share * way


def test_the_way_runs_from_0_to_1_and_ignores_what_differs_anyway() -> None:
    base, training = _cloud(24, 0), _moved(_cloud(24, 1), 1.0)
    way = concept_way(base, training)
    others = _cloud(8, 2)
    assert abs(way.gone(_moved(others, 1.0), others) - 1.0) < 0.25
    assert abs(way.gone(_moved(others, 0.5), others) - way.gone(_moved(others, 1.0), others) / 2) < 1e-4
    assert way.gone(others, others) == 0
    brighter = others.clone()
    brighter[:, 0] += 10  # a third of what pictures differ by anyway
    assert abs(way.gone(brighter, others)) < 0.05


def test_the_quick_solution_is_fishers_direction() -> None:
    base, training = _cloud(12, 3).double(), _moved(_cloud(12, 4), 1.0).double()
    spread = ((base.var(0) + training.var(0)) / 2).sqrt()
    a, b = base / spread, training / spread
    inner = torch.cat([a - a.mean(0), b - b.mean(0)])
    covariance = inner.T @ inner / len(inner)
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * torch.eye(40) * covariance.trace() / 40
    direction = torch.linalg.solve(shrunk, b.mean(0) - a.mean(0))
    expected = direction / (direction @ (b.mean(0) - a.mean(0))) / spread
    assert torch.allclose(concept_way(base, training).axis_F, expected, rtol=1e-6)


def test_leak_is_measured_in_units_of_strength() -> None:
    base, training = _cloud(24, 0), _moved(_cloud(24, 1), 1.0)
    way, others = concept_way(base, training), _cloud(8, 2)
    full = way.gone(_moved(others, 1.0), others)
    leak = measure_leak(way, (_moved(others, 0.2), others), (_moved(others, 0.6), others))
    assert leak.same is not None
    assert abs(leak.same - 0.6 * full) < 1e-4
    assert abs(leak.unrelated - 0.2 * full) < 1e-4
    assert measure_leak(way, (others, others), None).same is None


def test_prompts_lose_their_trigger_words() -> None:
    assert without_trigger("a felt emoji of a fox, felt", ["felt"]) == "a emoji of a fox"
    assert without_trigger("felt, a fox", ["felt"]) == "a fox"
    assert without_trigger("felted wool", ["felt"]) == "felted wool"


def _pictures(count: int, seed: int) -> PictureFeatures:
    values = torch.randn(count, 6, 4, 4, generator=torch.Generator().manual_seed(seed))
    return PictureFeatures((torch.nn.functional.normalize(values, dim=1),), values.mean((2, 3)))


def _rows(features: PictureFeatures, rows: list[int]) -> PictureFeatures:
    return PictureFeatures(tuple(level[rows] for level in features.levels), features.summary_BF[rows])


def test_all_distances_are_the_paired_ones() -> None:
    a, b = _pictures(3, 0), _pictures(3, 1)
    assert torch.allclose(distances(a, b).diagonal(), paired_distance(a, b), atol=1e-5)


def test_a_copy_is_found_and_a_new_picture_is_none() -> None:
    training = _pictures(6, 0)
    typical = typical_distance(training)
    copy, new = (
        nearest_training(_rows(training, [4]), training, typical)[0],
        nearest_training(_pictures(1, 9), training, typical)[0],
    )
    assert (copy.training, copy.memorised) == (4, True)
    assert not new.memorised
    assert new.share > 0.7


def test_one_picture_for_every_seed_has_no_diversity() -> None:
    pictures = _pictures(4, 0)
    assert diversity(_rows(pictures, [0, 0, 1, 1]), [[0, 1], [2, 3]]) < 1e-5
    assert diversity(pictures, [[0, 1], [2, 3]]) > 0.5


def test_a_look_has_no_place() -> None:
    pictures = _pictures(2, 0)
    shifted = PictureFeatures(tuple(level.roll(1, dims=3) for level in pictures.levels), pictures.summary_BF)
    assert torch.allclose(look(pictures), look(shifted), atol=1e-6)
    assert look(pictures).shape == (2, 12)
    assert not torch.allclose(look(pictures)[0], look(pictures)[1], atol=0.01)

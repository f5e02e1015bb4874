"""A LoRA turned away from unrelated inputs: the closed form is the minimum, and what it keeps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slipstream.adapters.inject import inject_lora
from slipstream.adapters.projection import in_groups, projected, second_moments

WIDTH = 6


def moment(*directions: int) -> torch.Tensor:
    """Of inputs that point along these axes alone."""
    return torch.diag(torch.tensor([float(axis in directions) for axis in range(WIDTH)]))


@pytest.fixture
def a():
    return torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(0))


def test_what_only_the_concept_brings_stays_and_what_only_others_bring_goes(a):
    after = projected(a, moment(0, 1), moment(1, 2), amount=1.0)
    torch.testing.assert_close(after[:, 0], a[:, 0])
    torch.testing.assert_close(after[:, 1], a[:, 1] / 2, rtol=1e-3, atol=1e-4)
    assert after[:, 2].abs().max() < 1e-4
    torch.testing.assert_close(after[:, 3:], a[:, 3:])  # brought by neither
    torch.testing.assert_close(projected(a, moment(0, 1), moment(1, 2), amount=0.0), a)


def test_it_is_the_minimum_of_what_it_says(a):
    generator = torch.Generator().manual_seed(1)
    moments = []
    for _ in range(2):
        x = torch.randn(40, WIDTH, generator=generator, dtype=torch.float64)
        moments.append(x.T @ x / 40)
    concept, unrelated = (one / one.diagonal().sum() for one in moments)

    def cost(after: torch.Tensor) -> float:
        change = after - a.double()
        return float(((change @ concept) * change).sum() + 3.0 * ((after @ unrelated) * after).sum())

    best = projected(a.double(), *moments, amount=3.0)
    for _ in range(20):
        nudge = 0.05 * torch.randn(a.shape, generator=generator, dtype=torch.float64)
        assert cost(best) < cost(best + nudge)


def test_moments_are_those_of_the_inputs_and_groups_keep_the_limit():
    model = nn.Sequential(nn.Linear(WIDTH, 4), nn.Linear(4, WIDTH), nn.Linear(WIDTH, 3))
    hosts = inject_lora(model, ["0", "1", "2"], rank=1, alpha=1.0, seed=0).hosts
    x = torch.randn(3, 5, WIDTH)
    found = second_moments({"0": hosts["0"]}, lambda: model(x))
    flat = x.flatten(0, 1)
    torch.testing.assert_close(found["0"], flat.T @ flat / len(flat))
    model(x)  # no hook is left behind
    bytes_of = {name: 8 * width**2 for name, width in zip("012", (WIDTH, 4, WIDTH), strict=True)}
    assert list(in_groups(hosts, bytes_of["0"] + bytes_of["1"])) == [["0", "1"], ["2"]]
    assert list(in_groups(hosts, 1)) == [["0"], ["1"], ["2"]]

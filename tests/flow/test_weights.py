"""The weight table of the `weighted` type."""

from __future__ import annotations

import json
from importlib import resources

import pytest
import torch

from slipstream.flow.densities import NoiseLevels, sigma_table
from slipstream.flow.weights import loss_weights, weighted_table

RAW = json.loads(resources.files("slipstream.flow").joinpath("weighted_timesteps.json").read_text(encoding="utf-8"))


def test_the_table_has_a_thousand_positive_weights_of_mean_one():
    table = weighted_table()
    assert table.shape == (1000,)
    assert (table >= 0).all()
    assert table.double().mean().item() == pytest.approx(1.0, abs=1e-4)
    assert table.std() > 0.1


@pytest.mark.parametrize("index", [0, 1, 17, 500, 998, 999])
def test_a_level_finds_its_own_weight(index):
    sigma = torch.tensor([(1000 - index) / 1000])
    assert loss_weights("weighted", sigma).item() == pytest.approx(RAW["weights"][index], rel=1e-6)


def test_all_drawn_levels_find_their_weights():
    assert torch.equal(
        loss_weights("weighted", sigma_table(NoiseLevels("weighted"), 256)), torch.tensor(RAW["weights"])
    )


def test_a_level_between_two_takes_the_nearest_and_the_ends_are_clamped():
    got = loss_weights("weighted", torch.tensor([0.7004, 0.7006, 0.0, 1.0]))
    expected = [RAW["weights"][index] for index in (300, 299, 999, 0)]
    torch.testing.assert_close(got, torch.tensor(expected))


@pytest.mark.parametrize("timestep_type", ["linear", "sigmoid", "shift", "logit_normal", "resolution_shift"])
def test_other_types_weigh_every_level_alike(timestep_type):
    assert torch.equal(loss_weights(timestep_type, torch.rand(5)), torch.ones(5))

"""Which noise levels are drawn: tables and biases against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from slipstream.flow.densities import draw_indices, draw_sigmas, sigma_table

COUNT = 200_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal_cdf(z: float) -> float:
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


@pytest.mark.parametrize("timestep_type", ["linear", "sigmoid", "weighted", "shift"])
def test_a_table_falls_from_noise_to_clean_and_stays_inside(timestep_type):
    table = sigma_table(timestep_type)
    assert table.shape == (1000,)
    assert table.dtype == torch.float32
    assert (table[1:] < table[:-1]).all()
    assert 0 < table[-1] < table[0] <= 1


def test_linear_runs_from_timestep_1000_to_1():
    table = sigma_table("linear")
    for index, timestep in ((0, 1000), (1, 999), (499, 501), (999, 1)):
        assert table[index].item() == pytest.approx(timestep / 1000, rel=1e-6)
    assert torch.equal(sigma_table("weighted"), table)


def test_shift_is_three_s_over_one_plus_two_s():
    table = sigma_table("shift")
    for index in (0, 250, 500, 999):
        s = (1000 - index) / 1000
        assert table[index].item() == pytest.approx(3 * s / (1 + 2 * s), rel=1e-6)


@pytest.mark.parametrize("level", [0.1, 0.3, 0.5, 0.8, 0.95])
def test_sigmoid_draws_the_logit_normal(level):
    """P(sigma < x) = Phi(logit x); five standard errors of 200,000 draws are 0.006."""
    sigmas = draw_sigmas("sigmoid", "balanced", COUNT, generator())
    expected = normal_cdf(math.log(level / (1 - level)))
    assert (sigmas < level).double().mean().item() == pytest.approx(expected, abs=0.006)


def cdf_of_index(bias: str, x: float) -> float:
    """P(index / 1000 < x): uniform, r^3 < x, or 1 - r^3 < x."""
    return {"balanced": x, "high_noise": x ** (1 / 3), "low_noise": 1 - (1 - x) ** (1 / 3)}[bias]


@pytest.mark.parametrize("bias", ["balanced", "high_noise", "low_noise"])
@pytest.mark.parametrize("x", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_a_bias_draws_its_formula(bias, x):
    indices = draw_indices(bias, COUNT, generator(1))
    assert indices.dtype == torch.int64
    assert (indices < 1000 * x).double().mean().item() == pytest.approx(cdf_of_index(bias, x), abs=0.006)


@pytest.mark.parametrize("bias", ["balanced", "high_noise", "low_noise"])
def test_every_drawn_index_is_in_the_table(bias):
    indices = draw_indices(bias, COUNT, generator(2))
    assert indices.min() >= 0
    assert indices.max() <= 999
    assert indices.min() < 5
    assert indices.max() > 994


def test_high_noise_means_high_sigma_and_composes_with_the_type():
    """E[1 - r^3] = 3/4 for the linear table; the shifted table keeps the order and lies higher."""
    linear = {
        bias: draw_sigmas("linear", bias, COUNT, generator()).mean().item()
        for bias in ("high_noise", "balanced", "low_noise")
    }
    assert linear["high_noise"] == pytest.approx(0.75, abs=0.005)
    assert linear["balanced"] == pytest.approx(0.5, abs=0.005)
    assert linear["low_noise"] == pytest.approx(0.25, abs=0.005)
    shift = {
        bias: draw_sigmas("shift", bias, COUNT, generator()).mean().item()
        for bias in ("high_noise", "balanced", "low_noise")
    }
    assert shift["high_noise"] > shift["balanced"] > shift["low_noise"]
    assert all(shift[bias] > linear[bias] for bias in linear)


def test_draws_come_from_the_generator_alone():
    torch.manual_seed(1)
    first = draw_sigmas("sigmoid", "high_noise", 16, generator(3))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(draw_sigmas("sigmoid", "high_noise", 16, generator(3)), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(draw_sigmas("sigmoid", "high_noise", 16, generator(4)), first)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"lognormal.*known: linear, sigmoid"):
        sigma_table("lognormal")
    with pytest.raises(ValueError, match=r"content.*known: balanced, high_noise"):
        draw_indices("content", 1, generator())

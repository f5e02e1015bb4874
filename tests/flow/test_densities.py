"""Which noise levels are drawn: tables, biases and bounds against their closed forms."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
import torch

from slipstream.flow.densities import NoiseLevels, index_range, indices_at, sigma_table, sigmas_at
from slipstream.flow.shift import resolution_shift

TOKENS = 1024
TYPES = {
    "linear": NoiseLevels("linear"),
    "weighted": NoiseLevels("weighted"),
    "sigmoid": NoiseLevels("sigmoid"),
    "shift": NoiseLevels("shift"),
    "shift 5": NoiseLevels("shift", shift=5.0),
    "logit_normal": NoiseLevels("logit_normal", logit_mean=0.7, logit_scale=0.6),
    "resolution_shift": NoiseLevels("resolution_shift"),
}
BIASES = ("balanced", "high_noise", "low_noise")
BOUNDS = ((0.0, 1.0), (0.25, 1.0), (0.0, 0.8), (0.3, 0.7))


def uniform(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def share_below(levels: NoiseLevels, x: float) -> float:
    """P(sigma < x) of a type without bias: the inverse of its formula."""
    kind = levels.timestep_type
    if x >= 1:
        return 1.0
    if x <= 0:
        return 0.0
    if kind in ("linear", "weighted"):
        return x
    if kind in ("shift", "resolution_shift"):
        k = levels.shift if kind == "shift" else math.exp(0.5 + 0.65 * (TOKENS - 256) / 3840)
        return x / (k - (k - 1) * x)
    mean, scale = (0.0, 1.0) if kind == "sigmoid" else (levels.logit_mean, levels.logit_scale)
    return NormalDist(mean, scale).cdf(math.log(x / (1 - x)))


def level_above(levels: NoiseLevels, share: float) -> float:
    """The x with P(sigma < x) = share, by halving."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if share_below(levels, middle) < share else (low, middle)
    return high


def cdf(levels: NoiseLevels, bias: str, x: float) -> float:
    """P(sigma < x): position p from most noise is r, r^3 or 1 - r^3, and sigma < x where p > 1 - share."""
    share = share_below(levels, x)
    return {"balanced": share, "high_noise": 1 - (1 - share) ** (1 / 3), "low_noise": share ** (1 / 3)}[bias]


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("name", list(TYPES))
def test_the_density_is_its_closed_form(name, bias, bounds):
    """Kolmogorov and Smirnov at 1 in 1,000: 1.95 / sqrt(20,000) = 0.014, and one of about 300 levels more at a bound.

    Read off at the edges between levels: a level stands for the thousandth of the density around it.
    """
    plain = TYPES[name]
    low, high = bounds
    levels = NoiseLevels(**{**vars(plain), "timestep_bias": bias, "min_noise": low, "max_noise": high})
    sigmas = sigmas_at(levels, uniform(20_000), TOKENS)
    assert sigmas.min() >= low - 1e-6
    assert sigmas.max() <= high + 1e-6
    edges = [level_above(plain, share / 200) for share in range(1, 200)]
    below, above = cdf(plain, bias, low), cdf(plain, bias, high)
    expected = torch.tensor([min(max((cdf(plain, bias, x) - below) / (above - below), 0), 1) for x in edges])
    counted = (sigmas[:, None] < torch.tensor(edges) + 1e-6).double().mean(dim=0)
    # at x itself a level may lie (linear): it stands for what is below it
    counted_open = (sigmas[:, None] < torch.tensor(edges) - 1e-6).double().mean(dim=0)
    distance = torch.minimum((counted - expected).abs(), (counted_open - expected).abs()).max()
    assert distance < 0.014 + (0 if bounds == (0.0, 1.0) else 0.004)


@pytest.mark.parametrize("name", list(TYPES))
def test_a_table_falls_from_noise_to_clean_and_stays_inside(name):
    table = sigma_table(TYPES[name], TOKENS)
    assert table.shape == (1000,)
    assert table.dtype == torch.float32
    assert (table[1:] < table[:-1]).all()
    assert 0 < table[-1] < table[0] <= 1


def test_linear_runs_from_timestep_1000_to_1():
    table = sigma_table(NoiseLevels("linear"), TOKENS)
    for index, timestep in ((0, 1000), (1, 999), (499, 501), (999, 1)):
        assert table[index].item() == pytest.approx(timestep / 1000, rel=1e-6)
    assert torch.equal(sigma_table(NoiseLevels("weighted"), TOKENS), table)


@pytest.mark.parametrize("k", [3.0, 1.7])
def test_shift_is_k_s_over_one_plus_k_minus_one_s(k):
    table = sigma_table(NoiseLevels("shift", shift=k), TOKENS)
    for index in (0, 250, 500, 999):
        s = (1000 - index) / 1000
        assert table[index].item() == pytest.approx(k * s / (1 + (k - 1) * s), rel=1e-6)


def test_the_shift_of_a_resolution_is_the_one_that_turbo_would_sample_with():
    from slipstream.models.z_image.loading import SamplingShift

    for tokens in (256, 1024, 4096, 5000):
        assert resolution_shift(tokens) == SamplingShift(3.0, dynamic=True).at(tokens)
    assert resolution_shift(256) == pytest.approx(math.exp(0.5))
    assert resolution_shift(4096) == pytest.approx(math.exp(1.15))
    table = sigma_table(NoiseLevels("resolution_shift"), 4096)
    torch.testing.assert_close(table, sigma_table(NoiseLevels("shift", shift=math.exp(1.15)), 256))


def test_a_logit_normal_of_mean_0_and_scale_1_is_sigmoid():
    logit_normal = sigma_table(NoiseLevels("logit_normal"), TOKENS)
    assert torch.equal(logit_normal, sigma_table(NoiseLevels("sigmoid"), TOKENS))


@pytest.mark.parametrize("bias", BIASES)
def test_every_drawn_index_is_in_the_table(bias):
    indices = indices_at(bias, uniform(200_000, 2))
    assert indices.dtype == torch.int64
    assert indices.min() >= 0
    assert indices.max() <= 999
    assert indices.min() < 5
    assert indices.max() > 994


def test_high_noise_means_high_sigma_and_composes_with_the_type():
    """E[1 - r^3] = 3/4 for the linear table; the shifted table keeps the order and lies higher."""

    def mean(kind: str, bias: str) -> float:
        return sigmas_at(NoiseLevels(kind, bias), uniform(200_000), TOKENS).mean().item()

    linear = {bias: mean("linear", bias) for bias in BIASES}
    assert linear["high_noise"] == pytest.approx(0.75, abs=0.005)
    assert linear["balanced"] == pytest.approx(0.5, abs=0.005)
    assert linear["low_noise"] == pytest.approx(0.25, abs=0.005)
    shift = {bias: mean("shift", bias) for bias in BIASES}
    assert shift["high_noise"] > shift["balanced"] > shift["low_noise"]
    assert all(shift[bias] > linear[bias] for bias in linear)


def test_bounds_that_leave_nothing_are_refused_with_what_there_is():
    narrow = NoiseLevels("logit_normal", logit_mean=3.0, logit_scale=0.2, min_noise=0.1, max_noise=0.2)
    with pytest.raises(
        ValueError, match=r"no noise level of `logit_normal` lies between 0\.1 and 0\.2.*0\.912 to 0\.975"
    ):
        index_range(narrow, TOKENS)
    assert index_range(NoiseLevels(min_noise=0.2, max_noise=0.8), TOKENS) == range(200, 801)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"lognormal.*known: linear, sigmoid"):
        sigma_table(NoiseLevels("lognormal"), TOKENS)
    with pytest.raises(ValueError, match=r"content.*known: balanced, high_noise"):
        indices_at("content", uniform(1))

"""Progress is the seed: what a sample meets depends on (seed, step, sample) and on nothing else."""

from __future__ import annotations

import pytest
import torch

from slipstream.core.seeding import derive_seed
from slipstream.flow.densities import NoiseLevels, sigmas_at
from slipstream.training.draws import draw_step


def draw(
    count: int, *, seed: int = 1, step: int = 3, first: int = 0, size: tuple[int, int] = (4, 6), samples: int = 4,
    offset: float = 0.0, **levels,
):  # fmt: skip
    return draw_step(
        seed=seed, step=step, first_sample=first, like_BCHW=torch.zeros(count, 16, *size), samples_per_step=samples,
        noise_offset=offset, levels=NoiseLevels(**{"timestep_type": "sigmoid", **levels}),
    )  # fmt: skip


def test_shapes_and_a_sample_of_its_own():
    noise, sigma = draw(3)
    assert noise.shape == (3, 16, 4, 6)
    assert sigma.shape == (3,)
    assert noise.dtype == sigma.dtype == torch.float32
    generator = torch.Generator().manual_seed(derive_seed(1, "draw", 3, 2))
    uniform = torch.rand(1, generator=generator, dtype=torch.float64)
    assert sigmas_at(NoiseLevels("sigmoid"), uniform, 6)[0] == sigma[2]
    assert torch.equal(torch.randn(16, 4, 6, generator=generator), noise[2])


@pytest.mark.parametrize("changes", [{}, {"stratified": True}, {"offset": 0.1}])
def test_one_batch_of_four_draws_like_two_of_two_and_four_of_one(changes):
    noise, sigma = draw(4, **changes)
    for size in (1, 2):
        parts = [draw(size, first=first, **changes) for first in range(0, 4, size)]
        assert torch.equal(torch.cat([part[0] for part in parts]), noise)
        assert torch.equal(torch.cat([part[1] for part in parts]), sigma)


def test_the_global_random_state_neither_matters_nor_moves():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = draw(2, stratified=True, offset=0.1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(draw(2, stratified=True, offset=0.1)[0], first[0])


def test_every_seed_step_and_sample_draws_its_own():
    draws = [draw(1, seed=seed, step=step, first=sample) for seed in (1, 2) for step in (0, 1, 2) for sample in (0, 1)]
    assert len({noise.flatten()[0].item() for noise, _ in draws}) == 12


def test_the_bias_reaches_the_draw():
    levels = {bias: draw(400, size=(2, 2), timestep_bias=bias)[1].mean() for bias in ("high_noise", "low_noise")}
    assert levels["high_noise"] > 0.55 > 0.45 > levels["low_noise"]


def test_the_shift_grows_with_the_picture():
    small, large = (draw(1, size=size, timestep_type="resolution_shift")[1] for size in ((32, 32), (128, 128)))
    assert draw(1, size=(32, 32), timestep_type="shift")[1] == draw(1, size=(128, 128), timestep_type="shift")[1]
    assert large > small


def test_an_offset_moves_each_channel_as_a_whole_and_leaves_the_levels_alone():
    (plain, sigma), (moved, same) = draw(3), draw(3, offset=0.25)
    assert torch.equal(sigma, same)
    shift = (moved - plain) / 0.25
    assert shift.std(dim=(2, 3)).max() < 1e-5
    per_channel = shift.mean(dim=(2, 3))
    assert len(set(per_channel.flatten().tolist())) == 48
    assert per_channel.std().item() == pytest.approx(1, abs=0.3)


def test_strata_give_every_sample_of_an_update_a_part_of_its_own_and_leave_the_noise_alone():
    for step in range(5):
        noise, sigma = draw(8, step=step, samples=8, size=(2, 2), timestep_type="linear", stratified=True)
        assert sorted(((1 - sigma) * 8 + 1e-4).long().tolist()) == list(range(8))
        assert torch.equal(draw(8, step=step, samples=8, size=(2, 2), timestep_type="linear")[0], noise)


def test_strata_are_dealt_anew_for_each_update_so_a_sample_meets_the_whole_density():
    """Kolmogorov and Smirnov at 1 in 1,000: 1.95 / sqrt(600) = 0.08, for the first and the last sample of an update."""
    levels = {"timestep_type": "linear", "timestep_bias": "high_noise", "stratified": True}
    drawn = torch.stack([draw(8, step=step, samples=8, size=(2, 2), **levels)[1] for step in range(600)])
    grid = torch.arange(1, 1000) / 1000
    for sample in (0, 7):
        empirical = (drawn[:, sample] > 1 - grid[:, None] + 1e-6).double().mean(dim=1)
        assert (empirical - grid ** (1 / 3)).abs().max() < 0.08


def test_one_sample_an_update_has_nothing_to_share():
    assert torch.equal(draw(1, samples=1, stratified=True)[1], draw(1, samples=1)[1])


def test_strata_lower_the_variance_of_an_updates_mean_loss():
    """A loss that depends on the level alone, 1 - sigma^2: with 8 samples what is left is within the strata, 1/64."""
    means = {
        stratified: torch.stack(
            [
                (1 - draw(8, step=step, samples=8, size=(2, 2), stratified=stratified)[1] ** 2).mean()
                for step in range(200)
            ]
        )
        for stratified in (False, True)
    }
    assert means[True].mean().item() == pytest.approx(means[False].mean().item(), abs=0.02)
    assert means[True].var() < 0.1 * means[False].var()

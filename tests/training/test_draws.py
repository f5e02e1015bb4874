"""Progress is the seed: what a sample meets depends on (seed, step, sample) and on nothing else."""

from __future__ import annotations

import torch

from slipstream.core.seeding import derive_seed
from slipstream.flow.densities import draw_sigmas
from slipstream.training.draws import draw_step


def draw(count: int, *, seed: int = 1, step: int = 3, first: int = 0, size: tuple[int, int] = (4, 6), **kwargs):
    settings = {"timestep_type": "sigmoid", "timestep_bias": "balanced", **kwargs}
    return draw_step(seed=seed, step=step, first_sample=first, like_BCHW=torch.zeros(count, 16, *size), **settings)


def test_shapes_and_a_sample_of_its_own():
    noise, sigma = draw(3)
    assert noise.shape == (3, 16, 4, 6)
    assert sigma.shape == (3,)
    assert noise.dtype == sigma.dtype == torch.float32
    generator = torch.Generator().manual_seed(derive_seed(1, "draw", 3, 2))
    assert draw_sigmas("sigmoid", "balanced", 1, generator)[0] == sigma[2]
    assert torch.equal(torch.randn(16, 4, 6, generator=generator), noise[2])


def test_one_batch_of_four_draws_like_two_of_two_and_four_of_one():
    noise, sigma = draw(4)
    for size in (1, 2):
        parts = [draw(size, first=first) for first in range(0, 4, size)]
        assert torch.equal(torch.cat([part[0] for part in parts]), noise)
        assert torch.equal(torch.cat([part[1] for part in parts]), sigma)


def test_the_global_random_state_neither_matters_nor_moves():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = draw(2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(draw(2)[0], first[0])


def test_every_seed_step_and_sample_draws_its_own():
    draws = [draw(1, seed=seed, step=step, first=sample) for seed in (1, 2) for step in (0, 1, 2) for sample in (0, 1)]
    assert len({noise.flatten()[0].item() for noise, _ in draws}) == 12


def test_the_bias_reaches_the_draw():
    levels = {bias: draw(400, size=(2, 2), timestep_bias=bias)[1].mean() for bias in ("high_noise", "low_noise")}
    assert levels["high_noise"] > 0.55 > 0.45 > levels["low_noise"]

"""The drift meter: what a LoRA changes on Turbo's own steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from slipstream.evaluation.drift import (
    RED,
    YELLOW,
    LevelChange,
    detail_energy,
    drift_score,
    lay_probes,
    light,
    velocity_change,
)
from slipstream.evaluation.unrelated import unrelated_prompts
from slipstream.models.z_image.family import predictor

CPU = torch.device("cpu")
PROMPTS = ("one", "two", "three")


def bent(factor: float):
    """A model whose velocity is its input times a factor of the caption's own."""

    def predict(noisy: Tensor, sigma: Tensor, texts: list[Tensor]) -> Tensor:
        return torch.stack([factor * text.mean() * row for row, text in zip(noisy, texts, strict=True)])

    return predict


def features(caption: str) -> Tensor:
    return torch.full((2, 3), float(len(caption)))


def laid(at_once: int = 4, levels: tuple[float, ...] = (0.9, 0.3)):
    return lay_probes(bent(1.0), features, lambda tokens: 3.0, PROMPTS, (2, 8, 8), CPU, levels, at_once=at_once)


def test_probes_walk_from_their_own_noise_by_some_of_the_eight_steps():
    probes = laid()
    assert [probe.sigmas for probe in probes] == [(1.0, pytest.approx(0.9), pytest.approx(0.3))] * 3
    assert len({probe.seed for probe in probes}) == 3
    noise = torch.randn((2, 8, 8), generator=torch.Generator().manual_seed(probes[0].seed))
    assert torch.equal(probes[0].states[0], noise)
    walked = noise * (1 + 3 * (0.9 - 1.0)) * (1 + 3 * (0.3 - 0.9))  # two Euler steps of v = 3 x
    assert torch.allclose(probes[0].states[2], walked, atol=1e-5)
    assert torch.allclose(probes[0].velocities[2], 3 * walked, atol=1e-5)
    alone = laid(at_once=1)
    assert all(torch.allclose(one.states, other.states) for one, other in zip(probes, alone, strict=True))


def test_the_change_is_relative_to_turbos_own_walk():
    ticks: list[tuple[int, int]] = []
    change = velocity_change(bent(1.25), features, laid(), at_once=2, tick=lambda *at: ticks.append(at))
    assert list(change) == [1.0, 0.9, 0.3]
    assert change[1.0].velocity == pytest.approx(0.25, rel=1e-4), "the walks begin at the same place"
    assert ticks == [(number, 6) for number in range(1, 7)]
    nothing = velocity_change(bent(1.0), features, laid())
    assert all(one == LevelChange(0.0, 1.0) for one in nothing.values())


def test_the_score_is_how_late_detail_comes_and_the_light_follows_it():
    end = LevelChange(0.1, 0.5)
    assert drift_score({1.0: LevelChange(0.4, 0.3), 0.83: end, 0.3: end}) == pytest.approx(40.0)
    assert drift_score({1.0: LevelChange(0.4, 0.5), 0.3: end}) == 0.0, "as much less at the end is a style, no drift"
    assert drift_score({1.0: LevelChange(0.4, 0.5), 0.3: LevelChange(0.1, 0.3)}) == pytest.approx(40.0)
    assert [light(score) for score in (0.0, YELLOW, RED)] == ["green", "yellow", "red"]
    with pytest.raises(ValueError, match="expected the walk"):
        drift_score({1.0: end})


def test_detail_is_what_lies_between_neighbouring_cells():
    cells = torch.arange(16.0)
    fine, coarse = torch.cos(torch.pi * cells), torch.cos(2 * torch.pi * cells / 16)
    rows = torch.stack([fine, coarse])[:, None, None, :].expand(2, 3, 16, 16)
    energies = detail_energy(rows)
    assert energies[0] > 1.0
    assert energies[1] < 1e-6 * energies[0]
    assert detail_energy(0.5 * rows)[0] == pytest.approx(float(energies[0]) / 4)


def test_packaged_prompts_are_the_familys_and_own_ones_come_first():
    tiny, real = unrelated_prompts(is_tiny=True), unrelated_prompts(is_tiny=False)
    assert (tiny.side, real.side) == (128, 512)
    assert not set(tiny.prompts) & set(real.prompts)
    assert unrelated_prompts(is_tiny=False, own=["a boat"]).prompts == ("a boat",)


def test_turbo_itself_has_no_drift_and_a_blurred_first_guess_has(tiny):
    predict, prompts = predictor(tiny.transformer), unrelated_prompts(is_tiny=True).prompts[:2]
    probes = lay_probes(predict, tiny.features, tiny.family.load_shift().at, prompts, (16, 8, 8), CPU)
    assert drift_score(velocity_change(predict, tiny.features, probes)) < 0.01

    def late(noisy: Tensor, sigma: Tensor, texts: list[Tensor]) -> Tensor:
        """Half of the first guess is the mean of all guesses."""
        own, level = predict(noisy, sigma, texts), sigma.view(-1, 1, 1, 1)
        guess = noisy - level * own
        share = 0.5 if float(sigma[0]) > 0.99 else 0.0
        return (noisy - (1 - share) * guess - share * guess.mean(dim=(2, 3), keepdim=True)) / level

    assert drift_score(velocity_change(late, tiny.features, probes)) > 30.0

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


def laid(at_once: int = 4, levels: tuple[float, ...] = (0.95, 0.3)):
    return lay_probes(bent(1.0), features, lambda tokens: 3.0, PROMPTS, (2, 4, 4), CPU, levels, at_once=at_once)


def test_probes_lie_on_the_eight_steps_with_their_own_noise():
    probes = laid(levels=(1.0, 0.9, 0.3))
    assert [probe.sigmas for probe in probes] == [(1.0, pytest.approx(0.9), pytest.approx(0.3))] * 3
    assert len({probe.seed for probe in probes}) == 3
    noise = torch.randn((2, 4, 4), generator=torch.Generator().manual_seed(probes[0].seed))
    assert torch.equal(probes[0].states[0], noise)
    # sigma falls from 1 to 21/22, 0.9: two Euler steps of v = 3 x
    walked = noise * (1 + 3 * (21 / 22 - 1)) * (1 + 3 * (0.9 - 21 / 22))
    assert torch.allclose(probes[0].states[1], walked, atol=1e-5)
    assert torch.allclose(probes[0].velocities[1], 3 * walked, atol=1e-5)
    alone = laid(at_once=1, levels=(1.0, 0.9, 0.3))
    assert all(torch.allclose(one.states, other.states) for one, other in zip(probes, alone, strict=True))


def test_the_change_is_relative_to_turbos_own_velocity_at_each_level():
    ticks: list[tuple[int, int]] = []
    change = velocity_change(bent(1.25), features, laid(), at_once=2, tick=lambda *at: ticks.append(at))
    assert [(level, pytest.approx(one.velocity, rel=1e-4)) for level, one in change.items()] == [
        (0.95, 0.25),
        (0.3, 0.25),
    ]
    assert ticks == [(1, 4), (2, 4), (3, 4), (4, 4)]
    nothing = velocity_change(bent(1.0), features, laid())
    assert nothing == {0.95: LevelChange(0.0, 1.0), 0.3: LevelChange(0.0, 1.0)}


def test_the_score_is_detail_lost_or_added_at_high_noise_and_the_light_follows_it():
    plain = LevelChange(0.1, 1.0)
    assert drift_score({0.95: LevelChange(0.4, 0.6), 0.3: plain}) == pytest.approx(40.0)
    assert drift_score({0.95: LevelChange(0.4, 1 / 0.6), 0.3: plain}) == pytest.approx(40.0)
    assert drift_score({0.95: LevelChange(0.4, 1.0), 0.3: LevelChange(0.1, 0.5)}) == 0.0
    assert drift_score({0.5: LevelChange(0.2, 0.8), 0.3: plain}) == pytest.approx(20.0)
    assert [light(score) for score in (0.0, YELLOW, RED)] == ["green", "yellow", "red"]


def test_detail_is_what_lies_between_neighbouring_cells():
    cells = torch.arange(16.0)
    fine, coarse = torch.cos(torch.pi * cells), torch.cos(2 * torch.pi * cells / 16)
    rows = torch.stack([fine, coarse])[:, None, None, :].expand(2, 3, 16, 16)
    energies = detail_energy(rows)
    assert energies[0] > 1.0
    assert energies[1] < 1e-6 * energies[0]
    assert detail_energy(0.5 * rows)[0] == pytest.approx(float(energies[0]) / 4)
    assert drift_score(velocity_change(blurring, features, laid())) > 50.0


def blurring(noisy: Tensor, sigma: Tensor, texts: list[Tensor]) -> Tensor:
    """`bent(1.0)` with a first guess that has lost two thirds of its amplitude."""
    own = bent(1.0)(noisy, sigma, texts)
    level = sigma.view(-1, 1, 1, 1)
    return (noisy - 0.33 * (noisy - level * own)) / level


def test_packaged_prompts_are_the_familys_and_own_ones_come_first():
    tiny, real = unrelated_prompts(is_tiny=True), unrelated_prompts(is_tiny=False)
    assert (tiny.side, real.side) == (128, 512)
    assert not set(tiny.prompts) & set(real.prompts)
    assert unrelated_prompts(is_tiny=False, own=["a boat"]).prompts == ("a boat",)


def test_turbo_itself_has_no_drift(tiny):
    predict, prompts = predictor(tiny.transformer), unrelated_prompts(is_tiny=True).prompts[:2]
    probes = lay_probes(predict, tiny.features, tiny.family.load_shift().at, prompts, (16, 8, 8), CPU)
    assert drift_score(velocity_change(predict, tiny.features, probes)) < 0.01
    other = velocity_change(lambda *given: 1.1 * predict(*given), tiny.features, probes)
    assert other[0.95].velocity == pytest.approx(0.1, abs=1e-3)
    assert drift_score(other) > 1.0

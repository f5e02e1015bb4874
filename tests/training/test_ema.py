"""The moving average: it starts equal, moves by its formula, and swaps in and out without a trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slipstream.training.ema import Ema, decay_at


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.zeros(3, 2))]


def test_it_starts_as_a_copy():
    weights = parameters()
    ema = Ema(weights, 0.9)
    weights[0].data.add_(1)
    assert ema.shadow[0].tolist() == [1.0, 2.0]


def test_updates_follow_the_formula():
    weights = parameters()
    ema = Ema(weights, 0.75)
    weights[0].data = torch.tensor([5.0, 2.0])
    ema.update()
    assert ema.shadow[0].tolist() == [2.0, 2.0]
    weights[0].data = torch.tensor([5.0, -2.0])
    ema.update()
    assert ema.shadow[0].tolist() == [2.75, 1.0]


def test_swapped_shows_the_shadow_and_gives_the_parameters_back_even_after_an_error():
    weights = parameters()
    ema = Ema(weights, 0.5)
    weights[0].data = torch.tensor([3.0, 4.0])
    ema.update()
    with ema.swapped():
        assert weights[0].tolist() == [2.0, 3.0]
    assert weights[0].tolist() == [3.0, 4.0]
    with pytest.raises(ZeroDivisionError), ema.swapped():
        raise ZeroDivisionError
    assert weights[0].tolist() == [3.0, 4.0]
    assert ema.shadow[0].tolist() == [2.0, 3.0]


def test_the_state_round_trips():
    weights = parameters()
    ema = Ema(weights, 0.5)
    weights[0].data = torch.tensor([3.0, 4.0])
    ema.update()
    other = Ema(parameters(), 0.5)
    other.load_state_dict(ema.state_dict())
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(other.shadow, ema.shadow, strict=True))


def test_warm_up_by_its_formulas():
    assert [decay_at(0.9, t, None) for t in (0, 5)] == [0.9, 0.9]
    assert [decay_at(0.9, t, 0) for t in (0, 8, 100)] == [0.1, 0.5, 0.9]
    assert [decay_at(0.8, t, 4) for t in (0, 1, 4, 9)] == pytest.approx([0.0, 0.2, 0.8, 0.8])


def test_a_warm_average_leaves_its_start_at_once_and_a_resumed_one_goes_on():
    weights = parameters()
    ema = Ema(weights, 0.99, warmup_steps=0)
    weights[0].data = torch.tensor([11.0, 12.0])
    ema.update()
    assert ema.shadow[0].tolist() == pytest.approx([10.0, 11.0])
    other = Ema(parameters(), 0.99, warmup_steps=0)
    other.load_state_dict(ema.state_dict())
    other.parameters[0].data = weights[0].data.clone()
    for one in (ema, other):
        one.update()
    assert torch.equal(ema.shadow[0], other.shadow[0])
    assert ema.shadow[0][0].item() == pytest.approx(11.0 - 2 / 11)

"""Dropout acts in training steps only, keeps the mean, and is a function of the seed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slipstream.adapters.dropout import Dropout
from slipstream.adapters.inject import inject_lora


def adapted(**shares: float):
    """A linear without weights and a LoRA beside it whose A and B are all ones."""
    model = nn.Sequential(nn.Linear(8, 4, bias=False))
    nn.init.zeros_(model[0].weight)
    lora = inject_lora(model, ["0"], rank=6, alpha=6.0, seed=0, dropout=Dropout(**shares))
    for parameter in lora.parameters():
        nn.init.ones_(parameter)
    return model, lora


X = torch.ones(500, 3, 8)


@pytest.mark.parametrize("kind", ["inputs", "ranks", "modules"])
def test_it_acts_in_training_mode_only_and_off_changes_no_bit(kind):
    model, lora = adapted(**{kind: 0.5})
    plain = adapted()[0](X)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert torch.equal(model(X), plain)
    assert torch.equal(torch.get_rng_state(), before), "nothing is drawn outside of training"
    outputs = set()
    for seed in range(8):
        torch.manual_seed(seed)
        with lora.learning():
            outputs.add(tuple(model(X).flatten()[:64].tolist()))
    assert len(outputs) > 1
    assert torch.equal(model(X), plain)


def test_input_dropout_keeps_the_mean():
    model, lora = adapted(inputs=0.25)
    torch.manual_seed(0)
    with lora.learning():
        values = model(X)
    assert values.mean().item() == pytest.approx(48, rel=0.02)
    assert {round(v / 8, 4) for v in values.flatten().tolist()} <= {round(n / 0.75 * 6 / 8, 4) for n in range(9)}


def test_rank_dropout_draws_once_for_each_sample():
    model, lora = adapted(ranks=0.5)
    torch.manual_seed(0)
    with lora.learning():
        values = model(X)
        rows = model(X[:, 0])  # adaLN sees no tokens
    assert torch.equal(values, values[:, :1, :1].expand_as(values)), "one mask for all tokens of a sample"
    assert values.mean().item() == pytest.approx(48, rel=0.05)
    assert len(values[:, 0, 0].unique()) > 4
    assert rows.shape == (500, 4)


def test_module_dropout_leaves_whole_branches_out_and_keeps_every_gradient():
    model, lora = adapted(modules=0.5)
    seen = set()
    for seed in range(20):
        torch.manual_seed(seed)
        with lora.learning():
            out = model(X)
        seen |= set(out.unique().tolist())
        out.sum().backward()
    assert seen == {0.0, 48.0}
    assert all(parameter.grad is not None for parameter in lora.parameters())

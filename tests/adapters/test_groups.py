"""Parameter groups: who learns at which multiple of the rate."""

from __future__ import annotations

from torch import nn

from slipstream.adapters.inject import inject_lora


def lora():
    return inject_lora(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3)), ["0", "1"], rank=2, alpha=2.0, seed=0)


def test_one_group_where_all_are_alike():
    branches = lora()
    (group,) = branches.parameter_groups()
    assert group.lr_factor == 1.0
    assert [id(p) for p in group.parameters] == [id(p) for p in branches.parameters()]


def test_lora_plus_raises_b_and_patterns_multiply():
    branches = lora()
    groups = branches.parameter_groups(lambda module: 0.5 if module == "1" else 1.0, lora_plus_ratio=16.0)
    a0, b0, a1, b1 = branches.parameters()
    found = {group.lr_factor: [id(p) for p in group.parameters] for group in groups}
    assert found == {1.0: [id(a0)], 16.0: [id(b0)], 0.5: [id(a1)], 8.0: [id(b1)]}

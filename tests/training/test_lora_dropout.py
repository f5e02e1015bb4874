"""Dropout of the LoRA belongs to the step: the same update meets the same masks, whatever ran before."""

from __future__ import annotations

import torch

from slipstream.adapters.dropout import Dropout
from slipstream.training.step import train_step


def test_a_step_seeds_it_and_leaves_training_mode(bench):
    for branch in bench.lora.branches.values():
        branch.dropout = Dropout(inputs=0.3, ranks=0.2, modules=0.1)

    def losses(first: int) -> list[float]:
        state = bench.state()
        state.step = first
        torch.rand(first)  # what was drawn before must not matter
        settings = bench.settings(gradient_accumulation=2)
        return [train_step(state, lambda micro: bench.batch([0]), bench.predict, settings, 0.0).loss for _ in range(2)]

    first, again = losses(0), losses(0)
    assert first == again
    assert losses(1)[0] == first[1]
    assert not any(branch.training for branch in bench.lora.branches.values())
    for branch in bench.lora.branches.values():
        branch.dropout = Dropout()
    assert losses(0)[0] != first[0]

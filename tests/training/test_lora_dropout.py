"""Dropout of the LoRA belongs to the step: the same update meets the same masks, whatever ran before."""

from __future__ import annotations

import torch

from slipstream.adapters.dropout import Dropout
from slipstream.models.z_image.family import predictor
from slipstream.precision.checkpointing import block_runner, run_directly
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


def test_checkpointed_blocks_drop_the_same_elements_when_they_run_again(bench):
    """The backward pass is in training mode too, and meets the random numbers of the forward pass."""
    for branch in bench.lora.branches.values():
        branch.dropout = Dropout(inputs=0.3, ranks=0.2, modules=0.1)

    def gradients_with(run) -> torch.Tensor:
        predict = predictor(bench.transformer, run)
        settings = bench.settings(gradient_accumulation=2)
        train_step(bench.state(), lambda micro: bench.batch([0, 1]), predict, settings, 0.0)
        return bench.gradients()

    kept = gradients_with(run_directly)
    torch.testing.assert_close(gradients_with(block_runner("full", preserve_rng=True)), kept, rtol=1e-5, atol=1e-8)
    assert not torch.allclose(gradients_with(block_runner("full")), kept, rtol=1e-2), "without them it would be wrong"

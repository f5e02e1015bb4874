"""One update: its gradient, its clip, its refusals, and a golden loss."""

from __future__ import annotations

import pytest
import torch

from slipstream.core.errors import TrainingError
from slipstream.flow.densities import NoiseLevels
from slipstream.objectives.objective import Model
from slipstream.training.draws import draw_step
from slipstream.training.ema import Ema
from slipstream.training.step import MOST_SKIPS, micro_terms, train_step

GOLDEN = {"linear": 6.880433, "weighted": 6.079118, "shift": 4.448311}


def micro_loss(batch, predict, settings, step: int, first_sample: int) -> torch.Tensor:
    """The loss of a micro batch whose only term is the velocity's."""
    (terms,) = micro_terms(batch, Model(predict, predict), settings, step, first_sample)
    return terms["velocity"].mean()


def close(got: torch.Tensor, expected: torch.Tensor) -> None:
    assert expected.abs().max() > 1e-4
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


def gradient_of(bench, rows: list[int], first_sample: int, **settings) -> torch.Tensor:
    loss = micro_loss(bench.batch(rows), bench.predict, bench.settings(**settings), step=2, first_sample=first_sample)
    gradients = torch.autograd.grad(loss, bench.lora.parameters())
    return torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize("timestep_type", ["sigmoid", "weighted"])
def test_the_gradient_of_a_batch_of_four_is_the_mean_of_four(bench, timestep_type):
    """The captions differ in length, so the batch is masked while the single samples are not."""
    together = gradient_of(bench, [0, 1, 2, 3], 0, timestep_type=timestep_type)
    singles = [gradient_of(bench, [row], row, timestep_type=timestep_type) for row in range(4)]
    close(together, torch.stack(singles).mean(0))
    assert (singles[0] - singles[1]).abs().max() > 0.1 * together.abs().max()


@pytest.mark.parametrize("micro_batch", [1, 2])
def test_accumulation_equals_one_batch(bench, micro_batch):
    state = bench.state()
    whole = train_step(state, lambda _: bench.batch([0, 1, 2, 3]), bench.predict, bench.settings(), 0.0)
    expected = bench.gradients()
    state = bench.state()
    count = 4 // micro_batch
    rows = lambda micro: list(range(micro * micro_batch, (micro + 1) * micro_batch))  # noqa: E731
    parts = train_step(
        state, lambda micro: bench.batch(rows(micro)), bench.predict, bench.settings(gradient_accumulation=count), 0.0
    )
    close(bench.gradients(), expected)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    assert parts.grad_norm == pytest.approx(whole.grad_norm, rel=1e-5)


def test_micro_steps_count_on_across_updates_and_the_state_counts_updates(bench):
    asked: list[int] = []

    def batch_at(micro):
        asked.append(micro)
        return bench.batch([micro % 4])

    state = bench.state(torch.optim.AdamW(bench.lora.parameters()))
    for _ in range(3):
        train_step(state, batch_at, bench.predict, bench.settings(gradient_accumulation=2), 1e-4)
    assert asked == [0, 1, 2, 3, 4, 5]
    assert state.step == 3
    assert {int(s["step"]) for s in state.optimizer.state.values()} == {3}


def test_only_the_lora_moves_and_by_the_given_learning_rate(bench):
    frozen = {n: p.detach().clone() for n, p in bench.transformer.named_parameters() if ".branches." not in n}
    before = bench.weights()
    state = bench.state(torch.optim.SGD(bench.lora.parameters(), lr=123.0))
    train_step(state, lambda _: bench.batch([0, 1]), bench.predict, bench.settings(), 0.5)
    torch.testing.assert_close(bench.weights(), before - 0.5 * bench.gradients())
    now = dict(bench.transformer.named_parameters())
    assert frozen
    assert all(torch.equal(now[name], value) for name, value in frozen.items())
    assert all(now[name].grad is None for name in frozen)


def test_clipping_scales_the_gradient_to_the_limit_and_reports_the_norm_before(bench):
    free = train_step(bench.state(), lambda _: bench.batch([0]), bench.predict, bench.settings(), 0.0)
    gradient = bench.gradients()
    assert free.grad_norm == pytest.approx(gradient.norm().item(), rel=1e-5)
    limit = free.grad_norm / 3
    clipped = train_step(
        bench.state(), lambda _: bench.batch([0]), bench.predict, bench.settings(max_grad_norm=limit), 0.0
    )
    assert clipped.grad_norm == pytest.approx(free.grad_norm, rel=1e-5)
    torch.testing.assert_close(bench.gradients(), gradient / 3, rtol=1e-3, atol=1e-7)


def test_a_limit_above_the_norm_changes_nothing(bench):
    free = train_step(bench.state(), lambda _: bench.batch([0]), bench.predict, bench.settings(), 0.0)
    gradient = bench.gradients()
    settings = bench.settings(max_grad_norm=10 * free.grad_norm)
    train_step(bench.state(), lambda _: bench.batch([0]), bench.predict, settings, 0.0)
    close(bench.gradients(), gradient)


def test_ema_follows_the_weights_after_every_update(bench):
    before = bench.weights()
    ema = Ema(bench.lora.parameters(), 0.75)
    state = bench.state(torch.optim.SGD(bench.lora.parameters(), lr=0.0), ema)
    train_step(state, lambda _: bench.batch([0]), bench.predict, bench.settings(), 1.0)
    shadow = torch.cat([tensor.flatten() for tensor in ema.shadow])
    moved = bench.weights()
    assert not torch.equal(moved, before)
    torch.testing.assert_close(shadow, 0.75 * before + 0.25 * moved)
    with state.as_used():
        assert torch.equal(bench.weights(), shadow)
    assert torch.equal(bench.weights(), moved)


def untouched_after_error(bench, batch_at, predict, match: str) -> TrainingError:
    """Take one good update, then one that must fail; return its error."""
    ema = Ema(bench.lora.parameters(), 0.9)
    state = bench.state(torch.optim.AdamW(bench.lora.parameters()), ema)
    train_step(state, lambda _: bench.batch([0]), bench.predict, bench.settings(), 1e-3)
    weights, shadow = bench.weights(), [tensor.clone() for tensor in ema.shadow]
    moments = [s["exp_avg"].clone() for s in state.optimizer.state.values()]
    with pytest.raises(TrainingError, match=match) as caught:
        train_step(state, batch_at, predict, bench.settings(max_grad_norm=1.0), 1e-3)
    assert state.step == 1
    assert torch.equal(bench.weights(), weights)
    assert all(torch.equal(a, b) for a, b in zip(ema.shadow, shadow, strict=True))
    assert all(torch.equal(s["exp_avg"], m) for s, m in zip(state.optimizer.state.values(), moments, strict=True))
    assert {int(s["step"]) for s in state.optimizer.state.values()} == {1}
    return caught.value


def test_bad_latents_are_named_with_the_step(bench):
    bench.latents[3, 0, 0, 0] = float("nan")
    error = untouched_after_error(bench, lambda _: bench.batch([2, 3]), bench.predict, "update 2")
    assert error.where == "step 2"
    assert "[2, 3]" in error.message
    assert "learning_rate" in (error.fix or "")


def test_an_infinite_prediction_is_refused(bench):
    predict = lambda noisy, sigma, texts: bench.predict(noisy, sigma, texts) * float("inf")  # noqa: E731
    error = untouched_after_error(bench, lambda _: bench.batch([0]), predict, "the loss became")
    assert "blew the LoRA up" in error.message


def test_a_gradient_that_is_not_finite_is_refused_although_the_loss_is(bench):
    def predict(noisy, sigma, texts):
        return bench.predict(noisy, sigma, texts) + (bench.lora.parameters()[0].sum() * 0).sqrt()

    untouched_after_error(bench, lambda _: bench.batch([0]), predict, "the gradient norm became nan in update 2")


def test_the_loss_is_the_formula_over_diffusers_own_forward(bench):
    """mean |v - (noise - clean)|^2 at noisy = (1 - sigma) clean + sigma noise, v = -transformer(noisy, 1 - sigma)."""
    noise, sigma = draw_step(seed=7, step=5, first_sample=0, like_BCHW=bench.latents, levels=NoiseLevels("linear"))
    s = sigma.view(-1, 1, 1, 1)
    noisy = (1 - s) * bench.latents + s * noise
    with torch.no_grad():
        raw = bench.transformer([x[:, None] for x in noisy], 1 - sigma, bench.texts, return_dict=False)[0]
        loss = micro_loss(bench.batch([0, 1, 2, 3]), bench.predict, bench.settings(timestep_type="linear"), 5, 0)
    expected = (-torch.stack(raw).squeeze(2) - (noise - bench.latents)).square().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("timestep_type", sorted(GOLDEN))
def test_golden_loss(bench, timestep_type):
    """A refactor must not change what is trained: the loss of update 5 on fixed latents and captions."""
    settings = bench.settings(timestep_type=timestep_type)
    with torch.no_grad():
        loss = micro_loss(bench.batch([0, 1, 2, 3]), bench.predict, settings, step=5, first_sample=0)
    assert loss.item() == pytest.approx(GOLDEN[timestep_type], rel=1e-4)


def test_training_lowers_the_loss(bench):
    settings = bench.settings(max_grad_norm=1.0)
    state = bench.state(torch.optim.AdamW(bench.lora.parameters()))
    probe = lambda: micro_loss(bench.batch([0, 1, 2, 3]), bench.predict, settings, 1000, 0).item()  # noqa: E731
    before = probe()
    for _ in range(6):
        train_step(state, lambda _: bench.batch([0, 1, 2, 3]), bench.predict, settings, 5e-3)
    assert probe() < 0.9 * before


def test_an_update_over_max_loss_counts_but_teaches_nothing(bench):
    ema = Ema(bench.lora.parameters(), 0.9)
    state = bench.state(torch.optim.AdamW(bench.lora.parameters()), ema)
    usual = train_step(state, lambda _: bench.batch([0]), bench.predict, bench.settings(), 1e-3)
    assert not usual.skipped
    weights, shadow = bench.weights(), [tensor.clone() for tensor in ema.shadow]
    skipped = train_step(state, lambda _: bench.batch([1]), bench.predict, bench.settings(max_loss=1e-3), 1e-3)
    assert skipped.skipped
    assert (state.step, state.skipped_in_a_row, ema.updates) == (2, 1, 1)
    assert torch.equal(bench.weights(), weights)
    assert all(torch.equal(a, b) for a, b in zip(ema.shadow, shadow, strict=True))
    assert {int(s["step"]) for s in state.optimizer.state.values()} == {1}
    free = train_step(state, lambda _: bench.batch([1]), bench.predict, bench.settings(max_loss=1e3), 1e-3)
    assert not free.skipped
    assert state.skipped_in_a_row == 0


def test_twenty_skips_in_a_row_end_the_training_with_advice(bench):
    state = bench.state(torch.optim.AdamW(bench.lora.parameters()))
    state.skipped_in_a_row = MOST_SKIPS - 1
    with pytest.raises(TrainingError, match=r"over training.max_loss \(0.001\) in 20 updates in a row") as caught:
        train_step(state, lambda _: bench.batch([0]), bench.predict, bench.settings(max_loss=1e-3), 1e-3)
    assert "max_loss" in (caught.value.fix or "")


def test_groups_learn_at_their_factor(bench):
    pairs = bench.lora.parameters()
    groups = [{"params": pairs[:1], "lr_factor": 0.5}, {"params": pairs[1:], "lr_factor": 1.0}]
    before = bench.weights()
    state = bench.state(torch.optim.SGD(groups, lr=9.0))
    train_step(state, lambda _: bench.batch([0]), bench.predict, bench.settings(), 0.1)
    size = pairs[0].numel()
    moved, gradient = bench.weights() - before, bench.gradients()
    torch.testing.assert_close(moved[:size], -0.05 * gradient[:size])
    torch.testing.assert_close(moved[size:], -0.1 * gradient[size:])

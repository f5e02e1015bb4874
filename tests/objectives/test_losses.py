"""Losses against their closed forms."""

from __future__ import annotations

import pytest
import torch

from slipstream.objectives.differential_guidance import guided_target
from slipstream.objectives.losses import per_element_loss, sample_losses
from slipstream.objectives.velocity import velocity_loss


@pytest.mark.parametrize(
    ("loss_type", "expected"),
    [
        ("mse", [0.0, 0.25, 0.01, 4.0]),
        ("mae", [0.0, 0.5, 0.1, 2.0]),
        # delta 0.2: (p - t)^2 inside, 0.2 (2 |p - t| - 0.2) outside
        ("huber", [0.0, 0.2 * (1.0 - 0.2), 0.01, 0.2 * (4.0 - 0.2)]),
        # 2 delta (sqrt(d^2 + delta^2) - delta)
        ("pseudo_huber", [0.0, 0.4 * (0.29**0.5 - 0.2), 0.4 * (0.05**0.5 - 0.2), 0.4 * (4.04**0.5 - 0.2)]),
    ],
)
def test_values_by_hand(loss_type, expected):
    prediction, target = torch.tensor([1.0, 0.0, 0.3, -1.0]), torch.tensor([1.0, 0.5, 0.2, 1.0])
    loss = per_element_loss(loss_type, prediction, target, huber_delta=0.2)
    torch.testing.assert_close(loss, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_huber_is_mse_near_zero_and_smooth_where_it_turns():
    difference = torch.tensor([0.0999, 0.1001], requires_grad=True)
    loss = per_element_loss("huber", difference, torch.zeros(2), huber_delta=0.1)
    (slope,) = torch.autograd.grad(loss.sum(), difference)
    assert loss[0].item() == pytest.approx(0.0999**2)
    assert slope.tolist() == pytest.approx([0.1998, 0.2], rel=1e-5)


def test_losses_are_computed_in_fp32():
    """In bf16 the difference would round to 256."""
    prediction, target = torch.tensor([256.0], dtype=torch.bfloat16), torch.tensor([0.001953125])
    loss = per_element_loss("mse", prediction, target, 0.1)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx((256 - 0.001953125) ** 2, rel=1e-7)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match=r"l4.*known per element: mse, mae, huber"):
        sample_losses("l4", torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), 0.1)


def test_pseudo_huber_is_mse_near_zero_and_huber_far_from_it():
    small, large = torch.tensor([1e-4, 1e-3]), torch.tensor([50.0])
    zero = torch.zeros(1)
    torch.testing.assert_close(per_element_loss("pseudo_huber", small, zero, 0.1), small**2, rtol=1e-4, atol=0)
    huber = per_element_loss("huber", large, zero, 0.1)
    torch.testing.assert_close(per_element_loss("pseudo_huber", large, zero, 0.1), huber, rtol=2e-3, atol=0)


def case(count: int = 3):
    generator = torch.Generator().manual_seed(5)
    clean, noise = torch.randn(2, count, 2, 4, 4, generator=generator)
    return clean, noise, torch.tensor([0.2, 0.5, 0.9])[:count]


def test_velocity_loss_hands_over_the_noisy_picture_and_wants_noise_minus_clean():
    clean, noise, sigma = case()
    seen = {}

    def predict(noisy, sigma_B):
        seen["noisy"], seen["sigma"] = noisy, sigma_B
        return torch.zeros_like(noisy)

    result = velocity_loss(predict, clean, noise, sigma)
    s = sigma.view(3, 1, 1, 1)
    torch.testing.assert_close(seen["noisy"], (1 - s) * clean + s * noise)
    assert torch.equal(seen["sigma"], sigma)
    torch.testing.assert_close(result.loss, (noise - clean).square().mean())
    torch.testing.assert_close(result.per_sample_B, (noise - clean).square().mean(dim=(1, 2, 3)))
    assert velocity_loss(lambda *_: noise - clean, clean, noise, sigma).loss == 0


def test_the_weighted_type_multiplies_each_sample_by_the_weight_of_its_level():
    from slipstream.flow.weights import weighted_table

    clean, noise, sigma = case()
    plain = velocity_loss(lambda noisy, _: noisy, clean, noise, sigma).per_sample_B
    weighted = velocity_loss(lambda noisy, _: noisy, clean, noise, sigma, timestep_type="weighted")
    expected = plain * weighted_table()[[800, 500, 100]]
    torch.testing.assert_close(weighted.per_sample_B, expected)
    torch.testing.assert_close(weighted.loss, expected.mean())


def test_a_batch_is_the_mean_of_its_samples():
    clean, noise, sigma = case()
    predict = lambda noisy, sigma_B: noisy * sigma_B.view(-1, 1, 1, 1)  # noqa: E731
    singles = [velocity_loss(predict, clean[i : i + 1], noise[i : i + 1], sigma[i : i + 1]).loss for i in range(3)]
    torch.testing.assert_close(velocity_loss(predict, clean, noise, sigma).loss, torch.stack(singles).mean())


def test_differential_guidance_aims_past_the_target():
    prediction, target = torch.tensor([1.0, -2.0]), torch.tensor([2.0, 1.0])
    torch.testing.assert_close(guided_target(prediction, target, 3.0), torch.tensor([4.0, 7.0]))
    torch.testing.assert_close(guided_target(prediction, target, 1.0), target)


def test_the_guided_target_is_held_constant_so_mse_gradients_are_exactly_scaled():
    clean, noise, sigma = case()
    weight = torch.tensor(0.3, requires_grad=True)

    def gradient(scale: float | None) -> torch.Tensor:
        predict = lambda noisy, _: noisy * weight  # noqa: E731
        loss = velocity_loss(predict, clean, noise, sigma, differential_guidance_scale=scale).loss
        return torch.autograd.grad(loss, weight)[0]

    torch.testing.assert_close(gradient(3.0), 3 * gradient(None))

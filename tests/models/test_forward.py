"""The lean forward equals diffusers' own, in values and in gradients."""

import pytest
import torch

from slipstream.core.quiet import quiet_imports
from slipstream.models.z_image.prediction import TextBatch, predict_velocity

with quiet_imports():
    from diffusers import ZImageTransformer2DModel


@pytest.fixture(scope="module")
def transformer():
    torch.manual_seed(0)
    model = ZImageTransformer2DModel(
        dim=96, n_layers=3, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=64,
        axes_dims=[16, 16, 16], axes_lens=[512, 64, 64],
    )  # fmt: skip
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15 if parameter.ndim > 1 else 0.5)
    return model.float()


def reference(model, latents, sigma, texts):
    out = model([latent[:, None] for latent in latents], 1 - sigma, texts, return_dict=False)[0]
    return -torch.stack(out).squeeze(2)


@pytest.mark.parametrize("size", [(16, 16), (10, 14), (8, 24)])
@pytest.mark.parametrize("lengths", [(7, 30, 32), (5, 40, 32), (33, 90, 64)])
def test_equals_diffusers(transformer, size, lengths):
    latents, sigma = torch.randn(3, 16, *size), torch.tensor([0.05, 0.5, 0.95])
    texts = [torch.randn(length, 64) for length in lengths]
    expected = reference(transformer, latents, sigma, texts)
    got = predict_velocity(transformer, latents, sigma, TextBatch.of(texts, latents.device, latents.dtype))
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_gradients_equal_diffusers(transformer):
    latents, sigma = torch.randn(2, 16, 8, 8), torch.tensor([0.3, 0.8])
    texts = [torch.randn(12, 64), torch.randn(40, 64)]
    weight = transformer.layers[1].attention.to_k.weight
    gradients = []
    for out in (
        reference(transformer, latents, sigma, texts),
        predict_velocity(transformer, latents, sigma, TextBatch.of(texts, latents.device, latents.dtype)),
    ):
        gradients.append(torch.autograd.grad(out.square().mean(), weight)[0])
    assert (gradients[0] - gradients[1]).abs().max() <= 1e-5 * gradients[0].abs().max()


def test_a_sample_does_not_depend_on_its_batch(transformer):
    latents, sigma = torch.randn(2, 16, 8, 8), torch.tensor([0.3, 0.8])
    texts = [torch.randn(12, 64), torch.randn(70, 64)]
    batch = lambda rows: TextBatch.of([texts[row] for row in rows], latents.device, latents.dtype)  # noqa: E731
    together = predict_velocity(transformer, latents, sigma, batch([0, 1]))
    for row in (0, 1):
        alone = predict_velocity(transformer, latents[row : row + 1], sigma[row : row + 1], batch([row]))
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-4)

"""What quantized weights cost on the tiny family: in predictions, in the LoRA's gradients, in captions, in training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.inject import inject_lora, select_targets
from slipstream.models.z_image.family import predictor
from slipstream.precision.schemes import SCHEMES

PICTURES = Path(__file__).parents[2] / "examples/foxy_style"
BOUNDS = {"float8": (0.08, 0.19), "int8": (0.02, 0.042), "nf4": (0.26, 0.48)}
"""(error of the prediction, of the LoRA's gradient) relative to fp32. Measured: 0.051, 0.125; 0.013, 0.027; 0.17, 0.32.
The tiny model has 5 million parameters and nothing to spare; large ones lose less."""


@dataclass(frozen=True)
class Samples:
    """Four pictures at 64 x 64 with captions."""

    latents: Tensor
    texts: list[Tensor]

    def noisy(self, sigma: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """(noisy latents, sigmas, velocities)."""
        noise = torch.randn(self.latents.shape, generator=torch.Generator().manual_seed(seed))
        return (1 - sigma) * self.latents + sigma * noise, torch.full((4,), sigma), noise - self.latents

    def loss(self, transformer: nn.Module, sigma: float, seed: int) -> Tensor:
        """Mean squared error of the velocity."""
        noisy, sigmas, velocity = self.noisy(sigma, seed)
        return (predictor(transformer)(noisy, sigmas, self.texts) - velocity).square().mean()


@pytest.fixture(scope="module")
def samples(tiny) -> Samples:
    paths = sorted(PICTURES.glob("*.png"))[:4]
    pictures = [bytearray(Image.open(path).convert("RGB").resize((64, 64)).tobytes()) for path in paths]
    values = torch.stack([torch.frombuffer(picture, dtype=torch.uint8).view(64, 64, 3) for picture in pictures])
    pixels = values.permute(0, 3, 1, 2) / 127.5 - 1
    return Samples(tiny.codec.encode(pixels), [tiny.features(f"an emoji of {path.stem}") for path in paths])


def loaded(tiny, scheme: str | None) -> nn.Module:
    return replace(tiny.family, transformer_scheme=scheme).load_transformer()


def with_lora(transformer: nn.Module, std: float = 0.0) -> BranchSet:
    names = select_targets(transformer, "layers", ("to_q", "to_k", "to_v", "to_out.0", "w1", "w2", "w3"))
    lora = inject_lora(transformer, names, rank=8, alpha=8.0, seed=1)
    if std:
        for number, parameter in enumerate(lora.parameters()):
            nn.init.normal_(parameter.data, std=std, generator=torch.Generator().manual_seed(number))
    return lora


def relative(got: Tensor, wanted: Tensor) -> float:
    return float((got - wanted).norm() / wanted.norm())


def prediction_and_gradient(tiny, samples: Samples, scheme: str | None) -> tuple[Tensor, Tensor]:
    transformer = loaded(tiny, scheme)
    noisy, sigmas, _ = samples.noisy(0.5, 1)
    with torch.no_grad():
        prediction = predictor(transformer)(noisy, sigmas, samples.texts)
    lora = with_lora(transformer, std=0.02)
    samples.loss(transformer, 0.5, 1).backward()
    return prediction, torch.cat([parameter.grad.flatten() for parameter in lora.parameters()])


@pytest.fixture(scope="module")
def reference(tiny, samples) -> tuple[Tensor, Tensor]:
    return prediction_and_gradient(tiny, samples, None)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_predictions_and_gradients_stay_near_those_of_fp32(tiny, samples, reference, scheme):
    errors = [
        relative(got, wanted)
        for got, wanted in zip(prediction_and_gradient(tiny, samples, scheme), reference, strict=True)
    ]
    for error, bound in zip(errors, BOUNDS[scheme], strict=True):
        assert 0.3 * bound < error < bound, errors


@pytest.mark.parametrize(("scheme", "bound"), [("float8", 0.03), ("int8", 0.01), ("nf4", 0.12)])
def test_caption_features_stay_near_those_of_fp32(tiny, scheme, bound):
    quantized = replace(tiny.family, text_encoder_scheme=scheme).load_text_encoder()
    caption = "a noto emoji of a red apple"
    (features,) = quantized.encode([caption])
    assert 0 < relative(features, tiny.features(caption)) < bound


@pytest.fixture(scope="module")
def losses(tiny, samples) -> dict[str | None, tuple[float, float]]:
    """(loss before, loss after a few updates) on noise of its own, by scheme."""

    def measured(transformer: nn.Module) -> float:
        with torch.no_grad():
            return sum(float(samples.loss(transformer, sigma, 100)) for sigma in (0.3, 0.7)) / 2

    found: dict[str | None, tuple[float, float]] = {}
    for scheme in (None, *SCHEMES):
        transformer = loaded(tiny, scheme)
        lora = with_lora(transformer)
        before = measured(transformer)
        optimizer = torch.optim.AdamW(lora.parameters(), lr=3e-3)
        for step in range(15):
            samples.loss(transformer, (0.2, 0.4, 0.6, 0.8)[step % 4], step).backward()
            optimizer.step()
            optimizer.zero_grad()
        found[scheme] = before, measured(transformer)
    return found


@pytest.mark.parametrize("scheme", SCHEMES)
def test_training_reaches_about_the_same_loss(losses, scheme):
    reference, (before, after) = losses[None], losses[scheme]
    assert reference[1] < 0.6 * reference[0]
    assert after == pytest.approx(reference[1], rel=0.06), losses
    assert after < 0.6 * before


def test_identities_of_features_know_the_scheme_and_those_of_latents_do_not(tiny):
    family = tiny.family
    texts = {replace(family, text_encoder_scheme=scheme).text_identity for scheme in (None, *SCHEMES)}
    assert len(texts) == 1 + len(SCHEMES)
    assert replace(family, transformer_scheme="nf4", text_encoder_scheme=None).text_identity == family.text_identity
    assert (
        replace(family, transformer_scheme="nf4", text_encoder_scheme="nf4").latent_identity == family.latent_identity
    )

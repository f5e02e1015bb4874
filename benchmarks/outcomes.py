"""What a model makes of a batch: its prediction, and the gradients of a random LoRA on it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from random_model import ModelSize
from torch import Tensor, nn

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.inject import inject_lora, select_targets
from slipstream.config.target import TARGET_MODULES
from slipstream.models.z_image.family import predictor
from slipstream.training.fast_path import fast_path
from slipstream.training.gradients import FlatGradients

Predict = Callable[[Tensor, Tensor, list[Tensor]], Tensor]
Outcome = tuple[Tensor, Tensor]
"""Velocity, and the gradients of the LoRA as one vector; fp32 on the host."""

RANK, CAPTION_TOKENS = 16, 100
RUNS = 3
"""The last one counts: on the fast path the first runs without a CUDA graph, the second captures, the third replays."""


@dataclass(frozen=True)
class Variant:
    """A way to predict: whose forward, in which precision, with weights of which scheme."""

    name: str
    dtype: torch.dtype
    whose: str
    scheme: str | None = None


@dataclass(frozen=True)
class Batch:
    """What is predicted, and `gradient(velocity)` of the loss by it."""

    noisy_BCHW: Tensor
    sigma_B: Tensor
    texts: list[Tensor]
    gradient: Callable[[Tensor], Tensor]


def random_batch(model: nn.Module, size: ModelSize, device: torch.device, resolution: int, sigma: float) -> Batch:
    """One picture with a caption, and a gradient that does not depend on the prediction; all random."""
    generator = torch.Generator().manual_seed(4)
    side = resolution // size.divide // 8
    width = int(model.config.cap_feat_dim)  # type: ignore[union-attr, arg-type]
    noisy, gradient = (torch.randn(1, 16, side, side, generator=generator).to(device) for _ in range(2))
    texts = [torch.randn(CAPTION_TOKENS, width, generator=generator).to(device)]
    return Batch(noisy, torch.tensor([sigma], device=device), texts, lambda velocity: gradient)


def by_diffusers(model: nn.Module) -> Predict:
    """Diffusers' own forward, its lists, time and sign turned into ours."""

    def predict(noisy_BCHW: Tensor, sigma_B: Tensor, texts: list[Tensor]) -> Tensor:
        dtype = next(model.parameters()).dtype
        latents = [latent[:, None].to(dtype) for latent in noisy_BCHW]
        out = model(latents, 1 - sigma_B, [text.to(dtype) for text in texts], return_dict=False)[0]
        return -torch.stack(out).squeeze(2).float()

    return predict


def random_lora(model: nn.Module) -> BranchSet:
    """A LoRA on every linear of the main blocks, off its start, the same for every variant."""
    names = select_targets(model, "layers", TARGET_MODULES)
    lora = inject_lora(model, names, rank=RANK, alpha=float(RANK), seed=1)
    generator = torch.Generator().manual_seed(3)
    for parameter in lora.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.01)
    return lora


def outcomes(model: nn.Module, variant: Variant, device: torch.device, batches: Sequence[Batch]) -> list[Outcome]:
    """The outcome of every batch, for a model without a LoRA yet."""
    lora = random_lora(model)
    flat = FlatGradients(lora.parameters())
    predict = by_diffusers(model) if variant.whose == "diffusers" else predictor(model)
    if variant.whose == "fused":
        fast, lines = fast_path(model, lora, device, float8=variant.scheme is not None)
        if fast is None:
            raise RuntimeError(lines[0])
        predict = fast.predict
    found: list[Outcome] = []
    for batch in batches:
        for _ in range(RUNS if variant.whose == "fused" and not found else 1):
            flat.zero()
            predicted = predict(batch.noisy_BCHW, batch.sigma_B, batch.texts)
            predicted.backward(batch.gradient(predicted.detach()))
            velocity = predicted.detach().clone()
            del predicted  # what it hangs on in autograd cannot be captured
        gradients = torch.cat([parameter.grad.flatten().float().cpu() for parameter in lora.parameters()])  # type: ignore[union-attr]
        found.append((velocity.float().cpu(), gradients))
    return found


def distance(found: Tensor, expected: Tensor) -> float:
    """||found - expected|| / ||expected||; NaN stays NaN."""
    return float((found - expected).norm() / expected.norm())


def cosine(found: Tensor, expected: Tensor) -> float:
    """Of 42 million numbers, which fp32 would sum to more than 1."""
    return float(torch.cosine_similarity(found.double(), expected.double(), dim=0))


def release(device: torch.device) -> None:
    """Give the last variant's memory back."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()

"""A quick look at the phenomenon on the recipe's own tensors, to tune adapters before the product measures it.

For each base: train a rank-16 LoRA (300 steps, batch 2) on 60 pictures of a style the base knows, then draw unrelated
prompts at 8 steps, guidance 0, adapter removed, and compare with the same base without LoRA. The table of the docs is
made with the product's own commands (`recipes/tiny_family/drift_table.py`), not with this.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from artwork import Artwork, caption_for, composite
from bank import SHORT, tokenise
from model import TextFeatures, decode, encode, sample, velocity
from stage_dedistil import TARGETS
from torch import Tensor, nn

from slipstream.adapters.inject import inject_lora, select_targets
from slipstream.adapters.training_adapter import attach_training_adapter, no_training_adapter
from slipstream.core.seeding import derive_seed
from slipstream.evaluation.frechet import frechet_distance
from slipstream.evaluation.judge import Judge
from slipstream.evaluation.sharpness import gradient_energy
from slipstream.flow.densities import draw_sigmas
from slipstream.flow.weights import loss_weights

CONTROL_STYLE = "twemoji"

@dataclass(frozen=True)
class Probe:
    """What every variant shares: models, training set, prompts, noise, reference pictures of Turbo."""

    turbo: nn.Module
    text_encoder: nn.Module
    vae: Any
    judge: Judge
    latents: Tensor
    text: TextFeatures
    test_text: TextFeatures
    test_concepts: Tensor
    noise: Tensor

    @torch.no_grad()
    def draw(self, model: nn.Module) -> Tensor:
        """The unrelated prompts at 8 steps, guidance 0."""
        chunks = torch.arange(len(self.noise), device=self.noise.device).split(256)
        return torch.cat([decode(self.vae, sample(model, self.noise[c], self.test_text.take(c), 8)) for c in chunks])

@torch.no_grad()
def prepare(
    art: Artwork, turbo: nn.Module, text_encoder: nn.Module, vae: Any, judge: Judge, tokenizer: Any, prompts: int = 512
) -> Probe:
    """Training set and test prompts."""
    device = art.rgba.device
    order = torch.randperm(len(art.style), generator=torch.Generator().manual_seed(1)).to(device)
    control = art.styles.index(CONTROL_STYLE)
    usable = order[art.seen[order]]
    train = usable[art.style[usable] == control][:60]
    test = usable[art.style[usable] != control][:prompts]
    white = torch.ones(len(train), 3, device=device)
    pixels = composite(art.rgba[train], white, (128, 128), torch.full((len(train),), 0.94, device=device))
    z = vae.encode(pixels).latent_dist.mode()
    captions = lambda rows: [caption_for(art.concepts[art.concept[r]], art.styles[art.style[r]], "white", 0) for r in rows.tolist()]  # noqa: E731
    noise = torch.randn(len(test), 16, 16, 16, generator=torch.Generator().manual_seed(7)).to(device)
    return Probe(
        turbo, text_encoder, vae, judge,
        ((z - vae.config.shift_factor) * vae.config.scaling_factor).float(),
        encode(text_encoder, tokenise(tokenizer, captions(train), SHORT, device)),
        encode(text_encoder, tokenise(tokenizer, captions(test), SHORT, device)),
        art.concept[test], noise,
    )  # fmt: skip

def train_lora(probe: Probe, base: nn.Module, adapter: Path | None, seed: int, steps: int, rate: float) -> nn.Module:
    """The naive or adapted training; returns Turbo with the LoRA, the adapter removed."""
    model = copy.deepcopy(base).requires_grad_(False)
    training_adapter = attach_training_adapter(model, adapter) if adapter else no_training_adapter()
    lora = inject_lora(model, select_targets(model, "layers", TARGETS), rank=16, alpha=16.0, seed=seed)
    optimizer = torch.optim.AdamW(lora.parameters(), lr=rate, weight_decay=1e-4)
    device = probe.latents.device
    for step in range(steps):
        generator = torch.Generator().manual_seed(derive_seed(seed, step))
        rows = torch.randint(0, len(probe.latents), (2,), generator=generator).to(device)
        sigma = draw_sigmas("weighted", "balanced", 2, generator).to(device)
        noise = torch.randn(2, *probe.latents.shape[1:], generator=generator).to(device)
        clean, wide = probe.latents[rows], sigma[:, None, None, None]
        error = velocity(model, (1 - wide) * clean + wide * noise, sigma, probe.text.take(rows)) - (noise - clean)
        loss = (error.square().mean(dim=(1, 2, 3)) * loss_weights("weighted", sigma)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(lora.parameters(), 1.0)
        optimizer.step()
    if base is not probe.turbo:
        final = copy.deepcopy(probe.turbo).requires_grad_(False)
        carried = inject_lora(final, sorted(lora.branches), rank=16, alpha=16.0, seed=seed)
        for (_, target), (_, source) in zip(carried.named_parameters(), lora.named_parameters(), strict=True):
            target.data.copy_(source.data)
        return final
    if training_adapter.branches is not None:
        training_adapter.branches.enable(False)
    return model

@torch.no_grad()
def figures(probe: Probe, images: Tensor, reference: Tensor) -> dict[str, float]:
    """Concepts right, sharpness against the reference, Frechet distance of judge features."""
    right = (probe.judge.concept_logits(images).argmax(1) == probe.test_concepts).float().mean()
    sharp = gradient_energy(images).mean() / gradient_energy(reference).mean()
    distance = frechet_distance(probe.judge.features(images), probe.judge.features(reference))
    return {"right": float(right), "sharpness": float(sharp), "frechet": distance}

def run_probe(
    probe: Probe, bases: dict[str, tuple[nn.Module, Path | None]], *, seeds: int, steps: int, rate: float
) -> dict[str, Any]:
    """The table: variant -> figures per seed."""
    reference = probe.draw(probe.turbo)
    table: dict[str, Any] = {"turbo without LoRA": [figures(probe, reference, reference)]}
    for name, (base, adapter) in bases.items():
        table[name] = []
        for seed in range(seeds):
            model = train_lora(probe, base, adapter, seed, steps, rate)
            table[name].append(figures(probe, probe.draw(model), reference))
            print(name, seed, {k: round(v, 3) for k, v in table[name][-1].items()}, flush=True)
    return table

__all__ = ["NO_GUIDANCE", "Guide", "prepare", "run_probe"]

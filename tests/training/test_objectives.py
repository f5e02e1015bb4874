"""Objectives on the tiny model: golden losses and gradients, batches against their samples, what a LoRA of zero feels.

`GOLDEN=write python -m pytest tests/training/test_objectives.py` renews the file: only for a change of numbers that is
meant, with before and after in the commit.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from slipstream.training.step import at_strength, micro_terms, train_step

GOLDEN = Path(__file__).with_name("golden_objectives.json")
CLASS_CAPTIONS = (
    "a picture of cat",
    "",
    "a picture of a long caption with more words than others",
    "a picture of fire",
)


def masks() -> torch.Tensor:
    """Soft discs of four sizes."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 8), torch.linspace(-1, 1, 8), indexing="ij")
    radius = torch.tensor([0.4, 0.7, 1.0, 1.3]).view(4, 1, 1)
    return ((radius - (x**2 + y**2).sqrt()) * 4).clamp(0.1, 1)


MASK: dict[str, Any] = {"masks_BHW": masks()}
PRIOR: dict[str, Any] = {"prior": (True, False, True, False)}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    **{f"type {name}": ({}, {"timestep_type": name}) for name in (
        "linear", "weighted", "sigmoid", "shift", "logit_normal", "resolution_shift",
    )},
    **{f"bias {name}": ({}, {"timestep_bias": name}) for name in ("high_noise", "low_noise")},
    **{f"loss {name}": ({}, {"loss_type": name}) for name in ("mae", "huber", "pseudo_huber", "wavelet")},
    "shift 5": ({}, {"timestep_type": "shift", "shift": 5.0}),
    "logit-normal 1, 0.5": ({}, {"timestep_type": "logit_normal", "logit_mean": 1.0, "logit_scale": 0.5}),
    "noise 0.3 to 0.7": ({}, {"timestep_type": "linear", "min_noise": 0.3, "max_noise": 0.7}),
    "stratified": ({}, {"stratified": True}),
    "noise offset": ({}, {"noise_offset": 0.1}),
    "differential guidance": ({}, {"differential_guidance_scale": 3.0}),
    "contrastive guidance": ({}, {"contrastive_guidance_scale": 1.5}),
    "class word": ({"preserved": "class"}, {"preservation_multiplier": 1.0}),
    "blank prompt": ({"preserved": "blank"}, {"preservation_multiplier": 0.5}),
    "class word and differential guidance": (
        {"preserved": "class"}, {"preservation_multiplier": 1.0, "differential_guidance_scale": 3.0},
    ),
    "prior": (PRIOR, {}),
    "mask": (MASK, {}),
    "mask, wavelet": (MASK, {"loss_type": "wavelet"}),
    "mask with prior": ({**MASK, "mask_prior_weights": (1.0, 0.5, 0.0, 1.0)}, {}),
    "loss weights": ({"loss_weights": (0.5, 1.0, 2.0, 1.0)}, {}),
    "LoRA weight": ({"lora_weight": 0.5}, {}),
}  # fmt: skip


@pytest.fixture
def look(bench, tiny):
    """A case's batch, settings and loss by term at update 5."""
    texts = {"class": [tiny.features(caption) for caption in CLASS_CAPTIONS], "blank": [tiny.features("")] * 4}

    def batch_and_settings(name: str) -> tuple[Any, Any]:
        fields, settings = CASES[name]
        changes = {key: value for key, value in fields.items() if key != "preserved"}
        if "preserved" in fields:
            changes["preserved_texts"] = texts[fields["preserved"]]
        return replace(bench.batch([0, 1, 2, 3]), **changes), bench.settings(**settings)

    return batch_and_settings


def loss_and_gradient(bench, batch, settings, first_sample: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of update 5 and its gradient as one vector."""
    for parameter in bench.lora.parameters():
        parameter.grad = None
    total = torch.zeros(())
    with at_strength(bench.lora, batch.lora_weight):
        for terms in micro_terms(batch, bench.model, settings, 5, first_sample):
            loss = torch.stack([term.mean() for term in terms.values()]).sum()
            loss.backward()
            total += loss.detach()
    return total, bench.gradients()


def test_golden_losses_and_gradients(bench, look):
    found = {}
    for name in CASES:
        loss, gradient = loss_and_gradient(bench, *look(name))
        found[name] = {"loss": loss.item(), "gradient_norm": gradient.norm().item()}
    if os.environ.get("GOLDEN") == "write":
        rounded = {name: {key: float(f"{value:.7g}") for key, value in row.items()} for name, row in found.items()}
        GOLDEN.write_text(json.dumps(rounded, indent=2) + "\n")
    golden = json.loads(GOLDEN.read_text())
    assert set(golden) == set(CASES)
    wrong = {
        name: (row, golden[name])
        for name, row in found.items()
        if any(row[key] != pytest.approx(golden[name][key], rel=1e-4) for key in row)
    }
    assert not wrong
    assert len({row["loss"] for row in golden.values()}) >= len(golden) - 3  # sigmoid is the default, and logit_normal


@pytest.mark.parametrize("name", ["class word", "mask with prior", "prior", "contrastive guidance"])
def test_a_batch_is_the_mean_of_its_samples(bench, look, name):
    batch, settings = look(name)
    loss, gradient = loss_and_gradient(bench, batch, settings)
    fields = ("latents_BCHW", "texts", "entry_indices", "prior", "masks_BHW", "mask_prior_weights", "preserved_texts")
    singles = []
    for row in range(4):
        own = {key: value[row : row + 1] for key in fields if (value := getattr(batch, key)) is not None}
        singles.append(loss_and_gradient(bench, replace(batch, **own), settings, first_sample=row))
    assert loss.item() == pytest.approx(sum(single[0].item() for single in singles) / 4, rel=1e-5)
    mean = torch.stack([single[1] for single in singles]).mean(0)
    assert (gradient - mean).abs().max() <= 2e-5 * mean.abs().max()


def test_differential_guidance_is_its_scale_times_the_gradient(bench, look):
    plain = loss_and_gradient(bench, *look("type sigmoid"))[1]
    guided = loss_and_gradient(bench, *look("differential guidance"))[1]
    assert (guided - 3 * plain).abs().max() <= 1e-5 * guided.abs().max()


@pytest.mark.parametrize("name", ["class word", "blank prompt"])
def test_preservation_feels_nothing_at_a_lora_of_zero(bench, look, name):
    for branch in bench.lora.branches.values():
        branch.b.data.zero_()
    batch, settings = look(name)
    plain = replace(settings, objective=replace(settings.objective, preservation_multiplier=None))
    expected_loss, expected = loss_and_gradient(bench, batch, plain)
    loss, gradient = loss_and_gradient(bench, batch, settings)
    assert torch.equal(loss, expected_loss)
    assert torch.equal(gradient, expected)


def test_the_model_without_lora_is_the_model_without_lora(bench):
    noisy, sigma = bench.latents, torch.tensor([0.2, 0.4, 0.6, 0.8])
    original = bench.model.without_lora(noisy, sigma, bench.texts)
    assert not original.requires_grad
    with_lora = bench.model.with_lora(noisy, sigma, bench.texts)
    assert (with_lora - original).abs().max() > 1e-3
    for branch in bench.lora.branches.values():
        branch.b.data.zero_()
    torch.testing.assert_close(bench.model.with_lora(noisy, sigma, bench.texts), original)


def test_a_datasets_lora_weight_scales_the_lora_in_its_updates_and_is_gone_after(bench):
    half = replace(bench.batch([0]), lora_weight=0.5)
    state = bench.state()
    weak = train_step(state, lambda _: half, bench.predict, bench.settings(), 0.0)
    assert {branch.strength for branch in bench.lora.branches.values()} == {1.0}
    for branch in bench.lora.branches.values():
        branch.b.data *= 0.5
    same = train_step(bench.state(), lambda _: bench.batch([0]), bench.predict, bench.settings(), 0.0)
    assert weak.loss == pytest.approx(same.loss, rel=1e-5)


def test_an_update_tells_its_loss_by_term_over_all_micro_batches(bench, look):
    batch, settings = look("class word")
    settings = replace(settings, gradient_accumulation=2)
    result = train_step(bench.state(), lambda _: batch, bench.predict, settings, 0.0)
    assert set(result.parts) == {"velocity", "preservation"}
    assert sum(result.parts.values()) == pytest.approx(result.loss)
    plain = train_step(bench.state(), lambda _: batch, bench.predict, bench.settings(gradient_accumulation=2), 0.0)
    assert plain.parts == {"velocity": pytest.approx(result.parts["velocity"])}

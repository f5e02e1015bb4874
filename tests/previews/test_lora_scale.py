"""A picture's own LoRA weight: batches have one, it is in force while they are drawn, and gone after."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

from slipstream.adapters.inject import inject_lora
from slipstream.previews.render import Picture, Renderer, render
from slipstream.training.preview_stage import picture_metadata, scaled


def picture(seed: int, lora_scale: float) -> Picture:
    return Picture("a fox", "", 32, 32, seed, 1, 0.0, lora_scale)


def test_a_batch_has_one_weight_and_the_model_goes_back():
    said: list[object] = []

    @contextmanager
    def at(scale: float):
        said.append(scale)
        yield
        said.append("back")

    def predict(noisy, sigma, texts):
        said.append(len(noisy))
        return noisy

    renderer = Renderer(
        predict, lambda latents: latents, lambda caption: torch.zeros(1, 1), lambda tokens: 3.0, torch.device("cpu"),
        at_lora_scale=at,
    )  # fmt: skip
    drawn = dict(render(renderer, [picture(1, 1.0), picture(2, 0.5), picture(3, 1.0)]))
    assert sorted(drawn) == [0, 1, 2]
    assert said == [0.5, 1, "back", 1.0, 2, "back"]


def test_scaling_multiplies_each_loras_own_strength_and_ends_with_its_block():
    model = torch.nn.Sequential(torch.nn.Linear(8, 8))
    loras = [inject_lora(model, ["0"], rank=2, alpha=2.0, seed=1, role=role) for role in ("style", "person")]
    strengths = lambda: [branch.strength for lora in loras for branch in lora.branches.values()]  # noqa: E731
    for lora, strength in zip(loras, (1.0, 0.5), strict=True):
        lora.set_strength(strength)
    at_scale = scaled([(loras[0], 1.0), (loras[1], 0.5)])
    with at_scale(0.4):
        assert strengths() == pytest.approx([0.4, 0.2])
    assert strengths() == [1.0, 0.5]
    with pytest.raises(KeyboardInterrupt), at_scale(0.0):
        raise KeyboardInterrupt
    assert strengths() == [1.0, 0.5]


def test_a_pictures_file_says_weight_and_mark():
    plain = picture_metadata(picture(1, 0.5), 3, {})
    assert plain["lora_scale"] == "0.5"
    assert "has_trigger" not in plain
    marked = Picture("a fox", "", 32, 32, 1, 1, 0.0, has_trigger=False)
    assert picture_metadata(marked, 3, {})["has_trigger"] == "no"

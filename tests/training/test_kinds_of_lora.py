"""Every kind on tiny/turbo: the preview is the picture that its file gives, and training goes on bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.files import load_lora, save_lora
from slipstream.adapters.inject import inject_fresh, select_targets
from slipstream.adapters.kinds import Recipe
from slipstream.models.z_image.family import predictor
from slipstream.previews.render import Picture, render
from slipstream.training.checkpoint import CheckpointPolicy, TrainingState, restore, save_checkpoint
from slipstream.training.drawing_model import attach_lora
from slipstream.training.ema import Ema
from slipstream.training.step import Predict, train_step

RECIPES = [
    Recipe("lora", 4, 6.0),
    Recipe("dora", 4, 4.0),
    Recipe("lokr", 8, 8.0),
    Recipe("loha", 4, 4.0),
    Recipe("oft", 8, 0.0),
]
TARGETS = ("attention.to_q", "attention.to_out.0", "feed_forward.w2", "adaLN_modulation.0")
PICTURE = Picture("a noto emoji of cat", "", 64, 64, 17, 4, 0.0)
each = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.kind)


def moved(branches: BranchSet) -> BranchSet:
    for index, (name, parameter) in enumerate(branches.named_parameters()):
        std = 0.02 * parameter.detach().abs().mean().item() if name.endswith("magnitude") else 0.05
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)) * std
    return branches


def draw(tiny, transformer) -> torch.Tensor:
    return next(image for _, image in render(tiny.renderer(transformer), [PICTURE]))


@each
def test_a_preview_is_the_picture_from_the_file(tiny, fresh_transformer, tmp_path, recipe):
    names = select_targets(fresh_transformer, ("layers", "noise_refiner", "context_refiner"), TARGETS)
    branches = moved(inject_fresh(fresh_transformer, names, recipe, seed=1))
    path = tmp_path / "a.safetensors"
    save_lora(path, branches, torch.bfloat16, {})
    with branches.rounded_to(torch.bfloat16):
        preview = draw(tiny, fresh_transformer)
    other, lines = copy.deepcopy(tiny.transformer), []
    attach_lora(other, load_lora(path), 0, path, lines.append)
    assert lines[0].startswith("a.safetensors")
    assert f"{len(names)} of {len(names)} modules matched" in lines[0]
    assert recipe.kind == "lora" or f"({recipe.kind})" in lines[0]
    assert (preview - draw(tiny, other)).abs().max() <= 1 / 255
    assert (preview - draw(tiny, tiny.transformer)).abs().max() > 0.05


@each
def test_training_lowers_the_loss_and_goes_on_bit_for_bit(tiny, tmp_path, bench, recipe):
    """Six updates from a checkpoint of the third are those of an unbroken run, and the same noise costs less after."""
    policy = CheckpointPolicy(tmp_path, "a", torch.float32, 0)

    def fresh() -> tuple[TrainingState, Predict]:
        transformer = copy.deepcopy(tiny.transformer)
        branches = inject_fresh(transformer, select_targets(transformer, "layers", TARGETS[:3]), recipe, seed=1)
        optimizer = torch.optim.AdamW(branches.parameters())
        return TrainingState(branches, optimizer, Ema(branches.parameters(), 0.9)), predictor(transformer)

    def train(state: TrainingState, predict: Predict, until: int, rate: float = 3e-3) -> list[float]:
        settings, losses = bench.settings(seed=3), []
        while state.step < until:
            losses.append(train_step(state, lambda micro: bench.batch([0, 1]), predict, settings, rate).loss)
        return losses

    whole, predict = fresh()
    first = train(whole, predict, 3)
    save_checkpoint(policy, whole, {})
    rest = train(whole, predict, 6)
    resumed, other_predict = fresh()
    assert restore(policy, resumed) == 3
    assert train(resumed, other_predict, 6) == rest
    both = zip(whole.lora.parameters(), resumed.lora.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in both)
    assert all(torch.equal(a, b) for a, b in zip(whole.ema.shadow, resumed.ema.shadow, strict=True))
    whole.step = 0
    assert train(whole, predict, 1, rate=0.0)[0] < first[0]

"""A model that stays loaded on CUDA: other LoRAs beside fused blocks draw what a fresh model draws."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


def make_lora(tiny, path: Path, rank: int, seed: int) -> Path:
    from slipstream.adapters.files import save_lora
    from slipstream.adapters.inject import inject_lora

    targets = ["layers.0.attention.to_q", "layers.1.feed_forward.w2"]
    branches = inject_lora(copy.deepcopy(tiny.transformer), targets, rank=rank, alpha=float(rank), seed=seed)
    for parameter in branches.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(seed))
    save_lora(path, branches, torch.float32, {})
    return path


@pytest.mark.parametrize("precision", ["auto", "float8"])
def test_other_loras_draw_what_a_fresh_model_draws(tiny, tmp_path: Path, precision: str):
    from slipstream.drawings.request import Base, LoraUse
    from slipstream.previews.render import Picture, render
    from slipstream.training.drawing_model import DrawingModel, Told, settle_drawing_model

    picture = Picture("a noto emoji of cat", "", 128, 128, 17, 4, 0.0)
    anna = LoraUse(make_lora(tiny, tmp_path / "anna.safetensors", 4, 1), 0.7)
    bert = LoraUse(make_lora(tiny, tmp_path / "bert.safetensors", 4, 2))
    wide = LoraUse(make_lora(tiny, tmp_path / "wide.safetensors", 8, 3))

    def settled() -> DrawingModel:
        return settle_drawing_model(Base("tiny/turbo", "tiny/turbo", precision), "cuda", Told())

    def draw(model: DrawingModel, *uses: LoraUse) -> Tensor:
        model.encode([picture.prompt, ""], Told())
        model.use(uses, Told())
        found = [next(image for _, image in render(model.renderer(), [picture])).cpu() for _ in range(3)]
        assert (found[0] - found[2]).abs().max() <= 1 / 255  # the last from a CUDA graph, where there are graphs
        return found[0]

    kept = settled()
    asked = [(anna,), (bert,), (LoraUse(anna.path, 0.0),), (wide, anna), (), (anna,)]
    drawn = [draw(kept, *uses) for uses in asked]
    assert (kept._loaded.fast is not None) == (precision == "auto")
    for uses, image in zip(asked, drawn, strict=True):
        assert (image - draw(settled(), *uses)).abs().max() <= 1 / 255, uses
    assert (drawn[2] - drawn[4]).abs().max() <= 1 / 255
    assert (drawn[0] - drawn[1]).abs().max() > 0.05

"""A model that stays loaded draws what a fresh one draws, whatever was attached before; on the fused blocks too."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from slipstream.adapters.files import save_lora
from slipstream.adapters.inject import inject_fresh
from slipstream.adapters.kinds import Recipe
from slipstream.core.errors import AdapterError, DeviceError
from slipstream.drawings.request import Base, DrawingRequest, LoraUse, PictureRequest
from slipstream.previews.render import Picture, render
from slipstream.training.drawing_desk import DrawingDesk, by_loras
from slipstream.training.drawing_model import DrawingModel, Told, settle_drawing_model

PICTURE = Picture("a noto emoji of cat", "", 64, 64, 17, 1, 0.0)
TARGETS = ["layers.0.attention.to_q", "layers.1.feed_forward.w2", "noise_refiner.0.attention.to_v"]
NOBODY = Told()


@pytest.fixture
def make_lora(tiny, tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, *, rank: int = 4, kind: str = "lora", targets: list[str] = TARGETS) -> Path:
        branches = inject_fresh(copy.deepcopy(tiny.transformer), targets, Recipe(kind, rank, float(rank)), seed=1)
        generator = torch.Generator().manual_seed(len(name) + ord(name[0]))
        for parameter in branches.parameters():
            parameter.data += torch.randn(parameter.shape, generator=generator) * 0.2
        save_lora(tmp_path / f"{name}.safetensors", branches, torch.float32, {})
        return tmp_path / f"{name}.safetensors"

    return make


def settled(*, fused: bool, like: DrawingModel | None = None) -> DrawingModel:
    """Fused: float8 weights multiplied in float8, which the CPU emulates. `like`: the captions that this one knows."""
    model = settle_drawing_model(Base("tiny/turbo", "tiny/turbo", "float8" if fused else "auto"), "cpu", NOBODY)
    if fused:
        model.compute = dataclasses.replace(model.compute, float8_products=True)
    if like is not None:
        model._features = like._features
    return model


def draw(model: DrawingModel, *uses: LoraUse) -> Tensor:
    model.encode([PICTURE.prompt, ""], NOBODY)
    model.use(uses, NOBODY)
    return next(image for _, image in render(model.renderer(), [PICTURE]))


def test_what_was_attached_before_changes_no_bit_on_fused_blocks(make_lora):
    """On modules: `tests/drawings` and the two tests below."""
    anna, bert, wide = LoraUse(make_lora("anna"), 0.7), LoraUse(make_lora("bert")), LoraUse(make_lora("wide", rank=8))
    kept = settled(fused=True)
    asked = [(anna,), (bert,), (wide, anna), (LoraUse(anna.path, 0.0),), (), (anna,)]
    drawn = [draw(kept, *uses) for uses in asked]
    assert kept._loaded.fast is not None
    for number in (1, 2, 4):
        assert torch.equal(drawn[number], draw(settled(fused=True, like=kept), *asked[number]))
    assert torch.equal(drawn[0], drawn[5])
    assert torch.equal(drawn[3], drawn[4])
    assert len({picture.numpy().tobytes() for picture in drawn[:4]}) == 4


def test_files_of_the_same_shapes_keep_what_was_made_for_them(make_lora):
    model = settled(fused=False)
    draw(model, LoraUse(make_lora("anna")))
    predict = model._loaded.predict
    first = draw(model, LoraUse(make_lora("bert")))
    assert model._loaded.predict is predict
    make_lora("bert").write_bytes(make_lora("cleo").read_bytes())
    assert not torch.equal(draw(model, LoraUse(make_lora("anna").with_name("bert.safetensors"))), first)
    assert model._loaded.predict is predict
    other = draw(model, LoraUse(make_lora("dora", kind="dora")))
    assert model._loaded.predict is not predict
    assert torch.equal(other, draw(settled(fused=False), LoraUse(make_lora("dora", kind="dora"))))


def test_a_lora_that_does_not_fit_leaves_the_model_usable(make_lora, tmp_path: Path):
    model, anna = settled(fused=False), LoraUse(make_lora("anna"))
    before = draw(model, anna)
    (tmp_path / "broken.safetensors").write_bytes(b"no LoRA")
    with pytest.raises(AdapterError):
        draw(model, LoraUse(tmp_path / "broken.safetensors"), anna)
    with pytest.raises(AdapterError):
        draw(model, anna, LoraUse(tmp_path / "gone.safetensors"))
    assert torch.equal(draw(model, anna), before)


def test_the_weights_of_the_same_files_are_drawn_one_after_another():
    def picture(seed: int, *uses: tuple[str, float]) -> PictureRequest:
        return PictureRequest("a", seed, 64, 64, 1, 0.0, loras=tuple(LoraUse(Path(p), w) for p, w in uses))

    pictures = (picture(1, ("a", 1)), picture(1, ("b", 1)), picture(1, ("a", 0)), picture(2, ("a", 1)), picture(1))
    assert by_loras(pictures) == [[0, 3], [2], [1], [4]]


def test_out_of_memory_takes_less_and_ends_with_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """First the text encoder goes, then pictures are drawn one at a time, then it is said."""
    told, at_once = [], []

    class Listener:
        def log(self, line: str) -> None:
            told.append(line)

        def phase(self, name: str, done: int, total: int) -> None:
            pass

        def step(self, step: int, steps: int, together: int, out_of: int) -> None:
            at_once.append(together)
            if together > allowed:
                raise torch.OutOfMemoryError("CUDA out of memory")

    pictures = tuple(PictureRequest("a", seed, 64, 64, 1, 0.0) for seed in range(3))
    request = DrawingRequest(Base("tiny/turbo", "tiny/turbo"), "cpu", pictures)
    desk = DrawingDesk("cpu")
    allowed = 1
    numbers = list(desk.draw(request, lambda number: tmp_path / f"{number}.png", Listener()))
    assert sorted(numbers) == [0, 1, 2]
    assert at_once == [3, 3, 1, 1, 1]
    assert [line for line in told if "out of memory" in line] == [
        "out of memory: the text encoder is not kept beside the model",
        "out of memory: pictures are drawn one at a time from now on",
    ]
    allowed = 0
    with pytest.raises(DeviceError, match="not enough memory"):
        list(desk.draw(request, lambda number: tmp_path / f"{number}.png", Listener()))
    assert desk._model is None

"""Batches of pictures: how many at once, what the model is called with, and files written beside the drawing."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch

from slipstream.previews.drawing import draw
from slipstream.previews.png import save_png, to_uint8
from slipstream.previews.render import Picture, Renderer, Step, render


def pictures(count: int, **changes: object) -> list[Picture]:
    one = Picture("a fox", "", 32, 32, 0, 4, 0.0)
    return [replace(one, prompt=f"fox {number}", seed=number, **changes) for number in range(count)]


class Model:
    """Predicts nothing, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[int, ...], list[float], list[int]]] = []
        self.known: dict[str, torch.Tensor] = {}

    def predict(self, noisy, sigma, texts):
        self.calls.append((tuple(noisy.shape), sigma.tolist(), [id(text) for text in texts]))
        return torch.zeros_like(noisy)

    def features(self, caption):
        return self.known.setdefault(caption, torch.full((2, 3), float(len(caption))))

    def decode(self, latents):
        assert len(latents) == 1, "pictures are decoded one by one"
        return latents[:, :3].sigmoid()

    def renderer(self, **changes: object) -> Renderer:
        return Renderer(self.predict, self.decode, self.features, lambda tokens: 3.0, torch.device("cpu"), **changes)


def batches(model: Model) -> list[int]:
    return [shape[0] for shape, _, _ in model.calls[::4]]


def test_batches_are_as_equal_as_can_be():
    for count, expected in ((1, [1]), (8, [8]), (9, [4, 5]), (10, [5, 5]), (17, [5, 6, 6])):
        model = Model()
        assert sorted(index for index, _ in render(model.renderer(), pictures(count))) == list(range(count))
        assert batches(model) == expected


@pytest.mark.parametrize(("side", "guidance", "most"), [(512, 0.0, 8), (1024, 0.0, 4), (1024, 3.0, 2), (4096, 0.0, 1)])
def test_a_batch_stays_within_the_pixels_given_and_has_a_picture(side, guidance, most):
    model = Model()
    wanted = pictures(8, width=side, height=side, guidance_scale=guidance)
    renderer = model.renderer(max_pixels=4 << 20)
    drawing = render(renderer, wanted)
    next(drawing)
    passes = 2 if guidance else 1
    assert {shape[0] for shape, _, _ in model.calls} == {most * passes}
    drawing.close()


def test_every_step_of_a_batch_is_called_with_one_shape_and_the_same_text_tensors():
    model = Model()
    list(render(model.renderer(), pictures(3, guidance_scale=3.0)))
    assert len(model.calls) == 4
    assert {shape for shape, _, _ in model.calls} == {(6, 16, 4, 4)}
    assert all(texts == model.calls[0][2] for _, _, texts in model.calls)
    assert model.calls[0][2] == [id(model.known[caption]) for caption in ("fox 0", "fox 1", "fox 2", "", "", "")]
    levels = [levels[0] for _, levels, _ in model.calls]
    assert levels == sorted(levels, reverse=True)
    assert all(len(set(levels)) == 1 for _, levels, _ in model.calls)


def test_every_step_is_told_before_it_begins():
    model, told = Model(), []
    wanted = [*pictures(2), *pictures(1, width=64)]
    list(render(model.renderer(), wanted, lambda step: told.append((step, len(model.calls)))))
    expected = [Step(step, 4, count) for count in (2, 1) for step in (1, 2, 3, 4)]
    assert told == [(step, calls) for calls, step in enumerate(expected)]


def test_files_are_those_of_drawing_first_and_writing_after(tmp_path):
    model, wanted, threads = Model(), pictures(5), set()

    def write(index, image):
        threads.add(threading.current_thread())
        assert image.dtype == torch.uint8
        save_png(tmp_path / f"{index}.png", image, {"prompt": wanted[index].prompt})

    assert sorted(draw(model.renderer(max_batch=2), wanted, write)) == [0, 1, 2, 3, 4]
    assert threading.main_thread() not in threads
    for index, image in render(Model().renderer(max_batch=2), wanted):
        save_png(tmp_path / "again.png", image, {"prompt": wanted[index].prompt})
        assert (tmp_path / "again.png").read_bytes() == (tmp_path / f"{index}.png").read_bytes()


def test_what_was_drawn_before_a_stop_is_written():
    written = []

    def stop_in_the_second_batch(step):
        if step == Step(2, 4, 1):
            raise KeyboardInterrupt

    wanted = [*pictures(2), *pictures(1, width=64)]
    with pytest.raises(KeyboardInterrupt):
        list(draw(Model().renderer(), wanted, lambda index, image: written.append(index), stop_in_the_second_batch))
    assert sorted(written) == [0, 1]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("write behind")]


def test_an_error_of_writing_ends_the_drawing():
    def write(index, image):
        raise OSError("no such folder")

    with pytest.raises(OSError, match="no such folder"):
        list(draw(Model().renderer(), pictures(3), write))


def test_bytes_stay_as_they_are():
    image = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
    levels = to_uint8(image)
    assert levels.dtype == torch.uint8
    assert to_uint8(levels) is levels


def test_features_from_elsewhere_are_placed_once():
    model = Model()
    renderer = replace(model.renderer(), device=torch.device("meta"))
    placed = renderer.text("a fox")
    assert placed.device.type == "meta"
    assert renderer.text("a fox") is placed
    model.known.clear()
    assert renderer.text("a fox") is not placed, "other features, so another tensor"

"""PNG files: the pixels diffusers writes, and metadata that other programs read."""

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream.core.errors import DiskFullError, ImageError
from slipstream.previews.png import read_png_metadata, save_png, to_uint8

METADATA = {
    "prompt": "foxy, a castle 狐",
    "negative_prompt": "blurry",
    "seed": "42",
    "steps": "8",
    "guidance_scale": "0.0",
    "width": "4",
    "height": "2",
    "step": "250",
    "model": "tiny/turbo",
    "lora": "a.safetensors:1, b.safetensors:0.5",
}


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_values_are_rounded_to_the_nearest_level_and_halves_to_the_even_one():
    levels = torch.tensor([0.0, 0.4, 0.5, 0.6, 1.5, 2.5, 127.5, 254.4, 254.6, 255.0], dtype=torch.float64) / 255
    assert to_uint8(levels).tolist() == [0, 0, 0, 1, 2, 2, 128, 254, 255, 255]


def test_the_file_holds_what_diffusers_would_have_written(tmp_path):
    processor = pytest.importorskip("diffusers.image_processor").VaeImageProcessor
    image = torch.rand(3, 6, 5, generator=torch.Generator().manual_seed(0))
    save_png(tmp_path / "a.png", image, {})
    expected = processor.numpy_to_pil(processor.pt_to_numpy(image[None]))[0]
    assert np.array_equal(pixels(tmp_path / "a.png"), np.asarray(expected))


def test_channels_rows_and_columns_keep_their_places(tmp_path):
    image = torch.zeros(3, 2, 4)
    image[0, 0, 3] = 1.0
    image[2, 1, 0] = 1.0
    save_png(tmp_path / "a.png", image, {})
    found = pixels(tmp_path / "a.png")
    assert found.shape == (2, 4, 3)
    assert found[0, 3].tolist() == [255, 0, 0]
    assert found[1, 0].tolist() == [0, 0, 255]
    assert found.sum() == 2 * 255


@pytest.mark.parametrize(("value", "byte"), [(1.3, 255), (-0.2, 0), (float("nan"), 0)])
def test_values_outside_the_range_do_not_wrap_around(value, byte):
    assert to_uint8(torch.full((3, 1, 1), value)).unique().tolist() == [byte]


def test_half_precision_pictures_are_written_too(tmp_path):
    save_png(tmp_path / "a.png", torch.full((3, 2, 2), 0.5, dtype=torch.bfloat16, requires_grad=True), {})
    assert np.unique(pixels(tmp_path / "a.png")).tolist() == [128]


def test_every_entry_comes_back_also_beyond_latin(tmp_path):
    save_png(tmp_path / "a.png", torch.zeros(3, 2, 4), METADATA)
    found = read_png_metadata(tmp_path / "a.png")
    assert {key: found[key] for key in METADATA} == METADATA


def test_the_parameters_line_is_what_viewers_split(tmp_path):
    save_png(tmp_path / "a.png", torch.zeros(3, 2, 4), METADATA)
    prompt, negative, settings = read_png_metadata(tmp_path / "a.png")["parameters"].split("\n")
    assert prompt == "foxy, a castle 狐"
    assert negative == "Negative prompt: blurry"
    assert settings.startswith("Steps: 8, CFG scale: 0.0, Seed: 42, Sampler: Euler, Size: 4x2, Training step: 250, ")
    assert "Model: tiny/turbo" in settings
    assert 'Lora: "a.safetensors:1, b.safetensors:0.5"' in settings


def test_a_picture_without_a_prompt_has_no_parameters_line(tmp_path):
    save_png(tmp_path / "a.png", torch.zeros(3, 2, 4), {"seed": "1"})
    assert read_png_metadata(tmp_path / "a.png") == {"seed": "1"}


def test_a_full_disk_leaves_the_earlier_picture(tmp_path, monkeypatch):
    save_png(tmp_path / "a.png", torch.ones(3, 2, 2), {})

    def no_space(self, target, **_):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", no_space)
    with pytest.raises(DiskFullError):
        save_png(tmp_path / "a.png", torch.zeros(3, 2, 2), {})
    assert np.unique(pixels(tmp_path / "a.png")).tolist() == [255]
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("content", [None, b"", b"not a picture", b"\x89PNG\r\n\x1a\nrubbish"])
def test_what_is_no_png_is_one_clear_error(tmp_path, content):
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=r"not a readable PNG"):
        read_png_metadata(path)

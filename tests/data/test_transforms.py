"""Pixels: covering, centred crops, range, mirrors, and what is lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream.data.buckets import Bucket
from slipstream.data.crops import covered_box, cropped_fraction
from slipstream.data.transforms import to_pixels, transform_identity


def noise(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_a_picture_of_the_buckets_size_is_unchanged():
    image = noise(64, 96)
    pixels = to_pixels(image, Bucket(64, 96), flip=False)
    assert (pixels.shape, pixels.dtype) == ((3, 96, 64), torch.float32)
    expected = np.asarray(image).astype(np.float64) / 255 * 2 - 1
    assert np.allclose(pixels.permute(1, 2, 0).numpy(), expected, atol=1e-6)


def test_black_is_minus_one_and_white_is_one():
    assert to_pixels(Image.new("RGB", (80, 80)), Bucket(64, 64), False).eq(-1).all()
    assert to_pixels(Image.new("RGB", (80, 80), (255, 255, 255)), Bucket(64, 64), False).eq(1).all()


def test_flip_mirrors_left_and_right():
    image = noise(90, 70)
    plain, flipped = to_pixels(image, Bucket(80, 64), False), to_pixels(image, Bucket(80, 64), True)
    assert torch.equal(flipped, plain.flip(2))
    assert not torch.equal(flipped, plain)


def test_the_middle_is_kept():
    """A wide picture of thirds, cropped to a square: only the middle third is left."""
    values = np.zeros((100, 300, 3), np.uint8)
    values[:, 100:200] = 255
    pixels = to_pixels(Image.fromarray(values), Bucket(64, 64), False)
    assert pixels[:, :, 4:-4].min() > 0.99


def test_scaling_down_is_antialiased():
    checks = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)
    pixels = to_pixels(Image.fromarray(checks).convert("RGB"), Bucket(64, 64), False)
    assert pixels.abs().max() < 0.05


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (1001, 777), (64, 65)])
def test_the_box_has_the_buckets_aspect_and_touches_two_sides(size):
    bucket = Bucket(64, 48)
    left, top, right, bottom = covered_box(*size, bucket)
    assert (right - left) / (bottom - top) == pytest.approx(64 / 48)
    assert (right - left == pytest.approx(size[0])) or (bottom - top == pytest.approx(size[1]))
    assert left + right == pytest.approx(size[0])
    assert top + bottom == pytest.approx(size[1])
    assert left >= 0
    assert right <= size[0]


def test_cropped_fraction():
    assert cropped_fraction(300, 100, covered_box(300, 100, Bucket(64, 64))) == pytest.approx(2 / 3)
    assert cropped_fraction(128, 96, covered_box(128, 96, Bucket(64, 48))) == pytest.approx(0)


def test_the_identity_tells_buckets_and_mirrors_apart():
    bucket = Bucket(64, 96)
    cases = [
        (bucket, False), (Bucket(96, 64), False), (bucket, True), (bucket, False, True),
        (bucket, False, False, (0.0, 0.0, 64.0, 96.0)), (bucket, False, False, (1.0, 0.0, 65.0, 96.0)),
    ]  # fmt: skip
    assert len({transform_identity(*case) for case in cases}) == len(cases)


def test_latents_cached_by_earlier_versions_are_found():
    assert transform_identity(Bucket(64, 96), False) == "srgb-1:cover-centre-lanczos-1:64x96:plain"


def test_upside_down_mirrors_top_and_bottom():
    image = noise(90, 70)
    plain, turned = to_pixels(image, Bucket(80, 64), False), to_pixels(image, Bucket(80, 64), False, upside_down=True)
    assert torch.equal(turned, plain.flip(1))


def test_a_box_is_what_cropping_first_gives():
    image = noise(90, 70)
    pixels = to_pixels(image, Bucket(64, 48), False, box=(5.0, 11.0, 69.0, 59.0))
    assert torch.equal(pixels, to_pixels(image.crop((5, 11, 69, 59)), Bucket(64, 48), False))

"""Crops and buckets: boxes inside the picture, never enlarged, pure in (seed, picture, number)."""

from __future__ import annotations

import pytest
import torch

from slipstream.data.buckets import Bucket, bucket_for, choose_buckets
from slipstream.data.cache import TensorCache
from slipstream.data.crops import View, covered_box, crop_boxes, cropped_fraction
from slipstream.data.encode import encode_latents
from slipstream.data.images import read_image
from slipstream.data.loader import fresh_latents
from slipstream.data.pixel_batches import example_key
from slipstream.data.sampler import BucketSampler
from slipstream.data.settings import CropRule
from slipstream.data.transforms import to_pixels

SMALL = Bucket(64, 64)


@pytest.mark.parametrize("rule", [CropRule(), CropRule("top"), CropRule("random", 9), CropRule("random", 9, 0.3)])
@pytest.mark.parametrize("size", [(300, 200), (200, 301), (1001, 777), (96, 96), (2000, 64)])
def test_boxes_are_inside_in_the_buckets_aspect_and_never_enlarged(rule, size):
    bucket = bucket_for(*size, 96)
    boxes = crop_boxes(*size, bucket, rule, "picture")
    assert 1 <= len(boxes) <= rule.count
    for left, top, right, bottom in boxes:
        assert min(left, top) >= 0
        assert right <= size[0] + 1e-9
        assert bottom <= size[1] + 1e-9
        assert (right - left) / (bottom - top) == pytest.approx(bucket.width / bucket.height)
        assert right - left >= bucket.width - 1e-6
        assert bottom - top >= bucket.height - 1e-6


def test_top_keeps_heads_on_and_the_sides_centred():
    (tall,) = crop_boxes(100, 300, SMALL, CropRule("top"), "a")
    assert tall == (0, 0, 100, 100)
    assert crop_boxes(300, 100, SMALL, CropRule("top"), "a") == ((100, 0, 200, 100),)


def test_drawn_boxes_are_a_pure_function_of_seed_picture_and_number():
    def boxes(seed=1, picture="a", count=5, bucket=SMALL):
        return crop_boxes(400, 200, bucket, CropRule("random", count, 0.5, seed), picture)

    assert boxes() == boxes()
    assert boxes(count=8)[:5] == boxes()
    assert len({boxes(), boxes(seed=2), boxes(picture="b")}) == 3
    assert boxes()[0] != boxes(bucket=Bucket(80, 64))[0]


def test_drawn_boxes_spread_over_the_whole_picture():
    boxes = crop_boxes(1000, 100, SMALL, CropRule("random", 16), "a")
    lefts = sorted(box[0] for box in boxes)
    gaps = [b - a for a, b in zip([0, *lefts], [*lefts, 900], strict=True)]
    assert len(lefts) == 16
    assert max(gaps) < 2.5 * 900 / 16
    assert all(left == int(left) for left in lefts)


def test_scale_draws_nearer_crops_down_to_the_least_or_the_bucket():
    boxes = crop_boxes(1000, 1000, SMALL, CropRule("random", 64, 0.5), "a")
    sides = [box[2] - box[0] for box in boxes]
    assert min(sides) == pytest.approx(500, abs=25)
    assert max(sides) == pytest.approx(1000, abs=25)
    nearly = crop_boxes(80, 80, SMALL, CropRule("random", 64, 0.5), "a")
    assert min(box[2] - box[0] for box in nearly) >= 64


def test_equal_crops_are_made_once():
    assert len(crop_boxes(96, 64, Bucket(96, 64), CropRule("random", 8), "a")) == 1
    # room for less than one latent cell is no choice, and gives the centred box that other settings have cached
    assert crop_boxes(642, 427, Bucket(96, 64), CropRule("random", 8), "a") == (covered_box(642, 427, Bucket(96, 64)),)


def test_cropped_fraction_of_a_near_crop():
    assert cropped_fraction(100, 100, (0.0, 0.0, 50.0, 50.0)) == pytest.approx(0.75)


@pytest.mark.parametrize("step", [16, 32, 64])
def test_sides_are_multiples_of_the_step_within_area_and_picture(step):
    for width, height in [(1000, 800), (777, 1500), (640, 640), (300, 500)]:
        bucket = bucket_for(width, height, 512, step)
        assert bucket.width % step == bucket.height % step == 0
        assert bucket.width * bucket.height <= 512 * 512
        assert bucket.width <= width
        assert bucket.height <= height
    assert bucket_for(1024, 1024, 512, step) == Bucket(512, 512)


def test_larger_steps_make_fewer_buckets():
    sizes = [(1000 + 10 * k, 1000) for k in range(80)]
    counts = [len({bucket_for(*size, 512, step) for size in sizes}) for step in (16, 32, 64)]
    assert counts[0] > counts[1] > counts[2]


def test_squares_are_cut_to_the_shorter_side_and_never_enlarged():
    assert bucket_for(2000, 1000, 768, square=True) == Bucket(768, 768)
    assert bucket_for(2000, 600, 768, square=True) == Bucket(592, 592)
    choice = choose_buckets(2000, 600, (512, 768, 1024), square=True)
    assert choice.buckets == (Bucket(512, 512), Bucket(592, 592))
    assert choice.repeated == (1024,)
    assert choose_buckets(2000, 600, (512,), 64, square=True).buckets == (Bucket(512, 512),)
    assert choose_buckets(2000, 60, (512,), square=True).too_small == (512,)


@pytest.fixture
def cropped(dataset):
    rule = CropRule("random", 4, 1.0, seed=7)
    return dataset({(160, 64): 2, (64, 64): 1}, square=True, crop=rule, flip_horizontal=True, flip_vertical=True)


def mean_of_cells(pixels_B3HW):
    return torch.nn.functional.avg_pool2d(pixels_B3HW, 8)


def test_every_view_is_cached_under_a_key_of_its_own(cropped, tmp_path):
    cache = TensorCache(tmp_path / "cache", "latents")
    report = encode_latents(cropped, mean_of_cells, "vae", cache, lambda done, total: None)
    assert [len(example.crops) for example in cropped.examples] == [1, 4, 4]
    assert report.encoded == (1 + 4 + 4) * 4
    for example in cropped.examples:
        picture = read_image(example.image.path)
        for view in example.views:
            box = example.crops[view.crop]
            pixels = to_pixels(picture, example.bucket, view.flipped, view.upside_down, box)
            assert torch.equal(cache.get(example_key(example, view, "vae")), mean_of_cells(pixels[None])[0])
            assert torch.equal(fresh_latents(mean_of_cells)(example, view), mean_of_cells(pixels[None])[0])


def test_a_centred_crop_shares_the_cache_with_other_settings(dataset):
    plain, drawn = dataset({(64, 64): 1}), dataset({(64, 64): 1}, crop=CropRule("random", 4))
    keys = {example_key(data.examples[0], View(), "vae") for data in (plain, drawn)}
    assert len(keys) == 1


def test_draws_meet_every_view_alike_and_resume_alike(cropped):
    sampler = BucketSampler(cropped, 2, seed=5)
    draws = [draw for step in range(600) for draw in sampler.draw(step)]
    wide = [draw.view for draw in draws if cropped.examples[draw.example_index].image.width == 160]
    assert set(wide) == set(cropped.examples[-1].views)
    for crop in range(4):
        assert sum(view.crop == crop for view in wide) / len(wide) == pytest.approx(0.25, abs=0.06)
    assert sum(view.upside_down for view in wide) / len(wide) == pytest.approx(0.5, abs=0.06)
    assert BucketSampler(cropped, 2, seed=5).draw(599) == sampler.draw(599)


def test_crops_and_turns_leave_other_draws_as_they_were(dataset):
    settings = {"flip_horizontal": True, "caption_dropout": 0.5}
    plain = BucketSampler(dataset({(160, 64): 3}, square=True, **settings), 2, seed=1)
    rule = CropRule("random", 4)
    views = BucketSampler(dataset({(160, 64): 3}, square=True, crop=rule, flip_vertical=True, **settings), 2, seed=1)
    for step in range(40):
        for before, after in zip(plain.draw(step), views.draw(step), strict=True):
            assert (before.example_index, before.flipped, before.dropped) == (
                after.example_index, after.flipped, after.dropped,
            )  # fmt: skip

"""Properties that every bucket has, and the ones worked out by hand."""

from __future__ import annotations

import math
import random

import pytest

from slipstream.data.buckets import Bucket, bucket_for, choose_buckets

dice = random.Random(7)
SIZES = [(dice.randint(64, 4000), dice.randint(64, 4000)) for _ in range(300)]


@pytest.mark.parametrize("resolution", [128, 500, 512, 768, 1024])
def test_multiples_of_16_within_the_picture_and_the_area(resolution):
    for width, height in SIZES:
        bucket = bucket_for(width, height, resolution)
        assert bucket.width % 16 == bucket.height % 16 == 0
        assert bucket.width <= width
        assert bucket.height <= height
        assert bucket.width * bucket.height <= resolution**2


@pytest.mark.parametrize("resolution", [512, 768, 1024])
def test_large_pictures_fill_the_area_in_their_own_aspect(resolution):
    for width, height in SIZES:
        aspect = width / height
        if width * height < resolution**2 or not 0.25 < aspect < 4:
            continue
        bucket = bucket_for(width, height, resolution)
        assert bucket.width * bucket.height > 0.88 * resolution**2
        # half a step of 16 on the short side is the most that the grid can be off
        short = min(bucket.width, bucket.height)
        assert abs(math.log(bucket.width / bucket.height / aspect)) < 17 / short


def test_turning_the_picture_turns_the_bucket():
    for width, height in SIZES:
        bucket, turned = bucket_for(width, height, 768), bucket_for(height, width, 768)
        assert (bucket.width, bucket.height) == (turned.height, turned.width)


@pytest.mark.parametrize(
    ("size", "resolution", "bucket"),
    [
        ((1024, 1024), 1024, (1024, 1024)),
        ((4000, 4000), 512, (512, 512)),
        ((1920, 1080), 1024, (1360, 768)),
        ((3000, 2000), 512, (624, 416)),
        ((600, 600), 1024, (592, 592)),
        ((600, 600), 512, (512, 512)),
        ((500, 700), 1024, (496, 688)),
        ((10_000, 200), 1024, (7200, 144)),
        ((1025, 1024), 1024, (1024, 1024)),
        ((15, 900), 512, (0, 896)),
    ],
)
def test_buckets_by_hand(size, resolution, bucket):
    assert bucket_for(*size, resolution) == Bucket(*bucket)


def test_a_small_picture_is_not_copied_into_every_resolution():
    choice = choose_buckets(600, 600, (1024, 512, 768))
    assert choice.buckets == (Bucket(512, 512), Bucket(592, 592))
    assert choice.repeated == (1024,)
    assert choice.too_small == ()


def test_a_resolution_named_twice_counts_once():
    choice = choose_buckets(2000, 2000, (512, 512))
    assert choice.buckets == (Bucket(512, 512),)
    assert choice.repeated == (512,)


def test_sides_below_64_are_left_out():
    assert choose_buckets(79, 500, (512,)).buckets == (Bucket(64, 496),)
    assert choose_buckets(63, 500, (512,)).too_small == (512,)
    # scaled to 128 x 128 pixels of area a strip is only 32 high; at 512 it is whole
    choice = choose_buckets(1600, 100, (128, 512))
    assert choice.too_small == (128,)
    assert choice.buckets == (Bucket(1600, 96),)

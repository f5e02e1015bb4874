"""Filling the caches: everything once, nothing stale, non-finite values refused."""

from __future__ import annotations

import errno
import threading

import pytest
import torch

from slipstream.core.errors import DataError, DiskFullError, ImageError
from slipstream.data.cache import TensorCache, text_key
from slipstream.data.crops import View
from slipstream.data.dataset import build_dataset
from slipstream.data.encode import (
    CacheReport,
    count_missing_captions,
    count_missing_latents,
    encode_captions,
    encode_latents,
)
from slipstream.data.images import read_image
from slipstream.data.pixel_batches import Pace, example_key
from slipstream.data.scan import reopen
from slipstream.data.settings import DatasetSettings
from slipstream.data.transforms import to_pixels


class Encoder:
    """Counts what it encodes: pictures become their 8 x 8 averages, captions a row per letter."""

    def __init__(self):
        self.images = 0
        self.captions = []

    def encode_images(self, pixels_B3HW):
        self.images += len(pixels_B3HW)
        return torch.nn.functional.avg_pool2d(pixels_B3HW, 8)

    def encode_texts(self, captions):
        self.captions += captions
        return [torch.full((len(caption) + 1, 4), float(len(caption))) for caption in captions]


@pytest.fixture
def encoder():
    return Encoder()


@pytest.fixture
def cache(tmp_path):
    return TensorCache(tmp_path / "cache", "latents")


def ignore(done, total):
    pass


def fill(data, encoder, cache, identity="vae"):
    return encode_latents(data, encoder.encode_images, identity, cache, ignore)


def test_every_latent_is_encoded_once(dataset, encoder, cache):
    data = dataset({(64, 64): 3, (96, 64): 2})
    assert count_missing_latents(data, "vae", cache) == 5
    seen = []
    report = encode_latents(data, encoder.encode_images, "vae", cache, lambda *place: seen.append(place))
    assert report == CacheReport(hits=0, encoded=5)
    assert seen == [(done, 5) for done in (1, 2, 3, 4, 5)]
    assert count_missing_latents(data, "vae", cache) == 0
    assert fill(data, encoder, cache) == CacheReport(hits=5, encoded=0)
    assert encoder.images == 5


def test_the_cache_holds_each_examples_own_latents_in_both_orientations(dataset, encoder, cache):
    data = dataset({(96, 64): 2, (64, 64): 1}, flip_horizontal=True)
    assert fill(data, encoder, cache).encoded == 6
    for example in data.examples:
        picture = read_image(example.image.path)
        for flipped in (False, True):
            pixels = to_pixels(picture, example.bucket, flipped)
            expected = torch.nn.functional.avg_pool2d(pixels, 8)
            assert torch.equal(cache.get(example_key(example, View(flipped), "vae")), expected)


def test_only_what_is_missing_is_encoded_again(dataset, encoder, cache):
    data = dataset({(64, 64): 4})
    fill(data, encoder, cache)
    path = cache.path(example_key(data.examples[2], View(), "vae"))
    path.write_bytes(path.read_bytes()[:-4])
    assert count_missing_latents(data, "vae", cache) == 1
    assert fill(data, encoder, cache) == CacheReport(hits=3, encoded=1)


def test_content_transform_and_encoder_make_new_entries_and_captions_do_not(dataset, folder, make, encoder, cache):
    data = dataset({(80, 80): 3})
    fill(data, encoder, cache)
    assert count_missing_latents(data, "another vae", cache) == 3
    (folder / "80x80_0.txt").write_text("another caption")
    assert count_missing_latents(build_dataset([DatasetSettings(folder, (1024,))]), "vae", cache) == 0
    assert count_missing_latents(build_dataset([DatasetSettings(folder, (64,))]), "vae", cache) == 3
    make("80x80_0.png", 80, 80, seed=1234)
    assert count_missing_latents(build_dataset([DatasetSettings(folder, (1024,))]), "vae", cache) == 1


def test_a_renamed_picture_keeps_its_latents(dataset, folder, encoder, cache):
    fill(dataset({(64, 64): 2}), encoder, cache)
    (folder / "64x64_0.png").rename(folder / "renamed.png")
    assert count_missing_latents(build_dataset([DatasetSettings(folder, (1024,))]), "vae", cache) == 0


def test_identical_pictures_are_encoded_once(folder, make, encoder, cache):
    make("a.png", seed=1)
    make("b.png", seed=1)
    data = build_dataset([DatasetSettings(folder, (512,))])
    assert count_missing_latents(data, "vae", cache) == 1
    assert fill(data, encoder, cache).encoded == encoder.images == 1


def test_uncached_folders_are_left_alone(dataset, encoder, cache):
    data = dataset({(64, 64): 2}, cache_latents=False)
    assert count_missing_latents(data, "vae", cache) == 0
    assert fill(data, encoder, cache) == CacheReport(0, 0)
    assert not cache.root.exists()


def test_latents_that_are_not_finite_name_the_picture(dataset, cache):
    data = dataset({(64, 64): 2})
    with pytest.raises(DataError, match="not finite") as caught:
        encode_latents(data, lambda pixels: pixels * float("nan"), "vae", cache, ignore)
    assert caught.value.where.endswith("64x64_0.png")
    assert count_missing_latents(data, "vae", cache) == 2


def picture_by_picture(pixels_B3HW):
    """A batch's latents as they are, with the size of the batch in the last bits, as kernels may leave it there."""
    return torch.nn.functional.avg_pool2d(pixels_B3HW, 8) + len(pixels_B3HW) * 1e-6


def contents(cache):
    return {path.name: path.read_bytes() for path in cache.root.rglob("*.safetensors")}


SIZES = {(64, 64): 5, (96, 64): 3, (64, 128): 1}
SMALL_BATCHES = Pace(pixels_at_once=2 * 64 * 64, num_readers=2)


def test_a_bucket_passes_in_batches_of_bounded_size(dataset, cache):
    data, shapes = dataset(SIZES), []

    def encode(pixels_B3HW):
        shapes.append(tuple(pixels_B3HW.shape))
        return torch.nn.functional.avg_pool2d(pixels_B3HW, 8)

    encode_latents(data, encode, "vae", cache, ignore, pace=SMALL_BATCHES)
    assert sorted(shapes) == [(1, 3, 64, 64)] + [(1, 3, 64, 96)] * 3 + [(1, 3, 128, 64)] + [(2, 3, 64, 64)] * 2


def test_together_is_one_by_one(dataset, encoder, tmp_path):
    data = dataset(SIZES, flip_horizontal=True)
    caches = []
    for number, pace in enumerate((Pace(1, 1), Pace(1 << 20, 3), SMALL_BATCHES)):
        caches.append(TensorCache(tmp_path / str(number), "latents"))
        encode_latents(data, encoder.encode_images, "vae", caches[-1], ignore, pace=pace)
    assert contents(caches[0]) == contents(caches[1]) == contents(caches[2])
    assert len(contents(caches[0])) == 18


@pytest.mark.parametrize("stop_at", [1, 2, 3, 5, 8])
def test_an_interrupted_filling_goes_on_with_the_same_bits(dataset, tmp_path, stop_at):
    data = dataset(SIZES)
    at_once, in_parts = TensorCache(tmp_path / "a", "latents"), TensorCache(tmp_path / "b", "latents")
    encode_latents(data, picture_by_picture, "vae", at_once, ignore, pace=SMALL_BATCHES)

    def interrupt(done, total):
        if done == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_latents(data, picture_by_picture, "vae", in_parts, interrupt, pace=SMALL_BATCHES)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("read", "write"))]
    there = contents(in_parts)
    assert stop_at <= len(there) <= 9
    assert count_missing_latents(data, "vae", in_parts) == 9 - len(there)
    report = encode_latents(data, picture_by_picture, "vae", in_parts, ignore, pace=SMALL_BATCHES)
    assert report == CacheReport(len(there), 9 - len(there))
    assert contents(in_parts) == contents(at_once)


def test_a_lost_entry_comes_back_with_the_same_bits(dataset, cache):
    data = dataset({(64, 64): 4})
    encode_latents(data, picture_by_picture, "vae", cache, ignore, pace=SMALL_BATCHES)
    before = contents(cache)
    path = cache.path(example_key(data.examples[1], View(), "vae"))
    path.unlink()
    report = encode_latents(data, picture_by_picture, "vae", cache, ignore, pace=SMALL_BATCHES)
    assert report == CacheReport(3, 1)
    assert contents(cache) == before


def test_a_picture_that_changed_is_named_and_what_came_before_is_kept(dataset, folder, make, encoder, cache):
    data = dataset({(64, 64): 6})
    make("64x64_4.png", 64, 64, seed=99)
    with pytest.raises(ImageError, match="changed") as caught:
        encode_latents(data, encoder.encode_images, "vae", cache, ignore, pace=SMALL_BATCHES)
    assert caught.value.where.endswith("64x64_4.png")
    assert count_missing_latents(data, "vae", cache) == 2


def test_the_picture_whose_latents_are_not_finite_is_named_among_its_neighbours(dataset, cache):
    data = dataset({(64, 64): 4})

    def encode(pixels_B3HW):
        latents_BCHW = torch.nn.functional.avg_pool2d(pixels_B3HW, 8)
        latents_BCHW[2:] = float("nan")
        return latents_BCHW

    with pytest.raises(DataError, match="not finite") as caught:
        encode_latents(data, encode, "vae", cache, ignore, pace=Pace(1 << 20, 1))
    assert caught.value.where.endswith("64x64_2.png")
    assert count_missing_latents(data, "vae", cache) == 2


def test_a_full_disk_ends_the_filling(dataset, encoder, cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    data = dataset({(64, 64): 9})
    monkeypatch.setattr("slipstream.data.cache.save_file", full)
    with pytest.raises(DiskFullError):
        encode_latents(data, encoder.encode_images, "vae", cache, ignore, pace=SMALL_BATCHES)
    assert encoder.images < 9


def test_a_picture_is_opened_once_for_all_its_buckets(folder, make, encoder, cache, monkeypatch):
    for number in range(3):
        make(f"{number}.png", 256, 256)
    data = build_dataset([DatasetSettings(folder, (64, 128, 192), flip_horizontal=True)])
    opened = []

    def counted(image):
        opened.append(image.path.name)
        return reopen(image)

    monkeypatch.setattr("slipstream.data.pixel_batches.reopen", counted)
    assert fill(data, encoder, cache).encoded == 18
    assert sorted(opened) == ["0.png", "1.png", "2.png"]


def test_captions(encoder, cache):
    captions = [f"{'x' * number}" for number in range(20)] + ["", "xx"]
    assert count_missing_captions(captions, "qwen", cache) == 20
    seen = []
    encode_captions(captions, encoder.encode_texts, "qwen", cache, lambda *place: seen.append(place))
    assert seen[-1] == (20, 20)
    assert sorted(encoder.captions) == sorted(set(captions))
    assert cache.get(text_key("xxx", "qwen")).tolist() == [[3.0] * 4] * 4
    again = encode_captions([*captions, "new"], encoder.encode_texts, "qwen", cache, ignore)
    assert again == CacheReport(hits=22, encoded=1)
    assert count_missing_captions(captions, "another encoder", cache) == 20


def test_features_that_are_not_finite_name_the_caption(cache):
    with pytest.raises(DataError, match="'a fox'"):
        encode_captions(["a fox"], lambda texts: [torch.tensor([[float("inf")]])], "qwen", cache, ignore)


def test_captions_pass_in_the_batches_asked_for_and_lost_ones_in_the_same(encoder, cache):
    captions = [f"{'x' * number}" for number in range(6)]
    batches = [["x", "xxx"], ["", "xx", "xxxx", "xxxxx"]]
    encode_captions(captions, encoder.encode_texts, "qwen", cache, ignore, lambda given: batches)
    assert encoder.captions == ["x", "xxx", "", "xx", "xxxx", "xxxxx"]
    cache.path(text_key("xxx", "qwen")).unlink()
    encoder.captions.clear()
    report = encode_captions(captions, encoder.encode_texts, "qwen", cache, ignore, lambda given: batches)
    assert report == CacheReport(5, 1)
    assert encoder.captions == ["x", "xxx"]
    assert count_missing_captions(captions, "qwen", cache) == 0

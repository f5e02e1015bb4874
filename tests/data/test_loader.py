"""The loader: batches as drawn, equal with and without prefetching, errors where they belong."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from slipstream.core.errors import DataError
from slipstream.data.cache import TensorCache, text_key
from slipstream.data.crops import View
from slipstream.data.encode import encode_captions, encode_latents
from slipstream.data.loader import Loader, cached_features, cached_latents, fresh_latents
from slipstream.data.pixel_batches import example_key
from slipstream.data.sampler import BucketSampler


def encode_images(pixels_B3HW):
    return torch.nn.functional.avg_pool2d(pixels_B3HW, 8)


def encode_texts(captions):
    return [torch.tensor([[float(ord(letter))] for letter in f"{caption}."]) for caption in captions]


@pytest.fixture
def data(dataset):
    return dataset({(64, 64): 5, (96, 64): 2}, flip_horizontal=True, caption_dropout=0.3)


@pytest.fixture
def latent_cache(tmp_path, data):
    cache = TensorCache(tmp_path / "cache", "latents")
    encode_latents(data, encode_images, "vae", cache, lambda done, total: None)
    return cache


@pytest.fixture
def text_cache(tmp_path, data):
    cache = TensorCache(tmp_path / "cache", "texts")
    encode_captions(data.captions(), encode_texts, "qwen", cache, lambda done, total: None)
    return cache


@pytest.fixture
def loader(data, latent_cache, text_cache):
    features = cached_features(text_cache, "qwen")
    with Loader(data, BucketSampler(data, 2, seed=3), cached_latents(latent_cache, "vae"), features) as loader:
        yield loader


def by_hand(data, step):
    draws = BucketSampler(data, 2, seed=3).draw(step)
    latents = [fresh_latents(encode_images)(data.examples[draw.example_index], draw.view) for draw in draws]
    captions = ["" if draw.dropped else data.examples[draw.example_index].caption for draw in draws]
    return torch.stack(latents), encode_texts(captions), tuple(draw.example_index for draw in draws)


def test_batches_are_what_the_sampler_drew_in_any_order_of_steps(data, loader):
    assert loader.batches_per_epoch == 4
    for step in (0, 1, 2, 3, 4, 17, 3, 3, 4, 0):
        batch = loader.batch_at(step)
        latents_BCHW, texts, indices = by_hand(data, step)
        assert torch.equal(batch.latents_BCHW, latents_BCHW)
        assert batch.entry_indices == indices
        assert len(batch.texts) == len(texts)
        assert all(torch.equal(a, b) for a, b in zip(batch.texts, texts, strict=True))


def test_the_rows_hold_dropped_captions_and_flips(data):
    sampler = BucketSampler(data, 2, seed=3)
    draws = [draw for step in range(30) for draw in sampler.draw(step)]
    assert {draw.dropped for draw in draws} == {draw.flipped for draw in draws} == {False, True}


def test_cached_equals_fresh(data, latent_cache):
    cached, fresh = cached_latents(latent_cache, "vae"), fresh_latents(encode_images)
    for example in data.examples:
        for flipped in (False, True):
            assert torch.equal(cached(example, View(flipped)), fresh(example, View(flipped)))


def recording(record, gate=None):
    def latents(example, view):
        record.append((example.index, threading.current_thread() is threading.main_thread()))
        if gate is not None:
            gate.set()
        return torch.zeros(1, 1, 1)

    return latents


def test_the_next_batch_is_fetched_in_the_background(data):
    record, ahead = [], threading.Event()
    sampler = BucketSampler(data, 2, seed=3)
    with Loader(data, sampler, recording(record), lambda caption: torch.zeros(1, 1)) as loader:
        loader.batch_at(0)
        loader.close()
    fetched = [index for index, _ in record]
    expected = [draw.example_index for step in (0, 1) for draw in sampler.draw(step)]
    # step 1 may not have begun when the loader was closed; nothing beyond it ever does
    assert fetched in (expected[:2], expected)
    assert not any(in_main for _, in_main in record)

    def wait_for_second(example, view):
        if example.index == sampler.draw(1)[0].example_index:
            ahead.set()
        return torch.zeros(1, 1, 1)

    with Loader(data, sampler, wait_for_second, lambda caption: torch.zeros(1, 1)) as loader:
        loader.batch_at(0)
        assert ahead.wait(10)


def test_closing_ends_the_thread(data, loader):
    loader.batch_at(0)
    loader.close()
    loader.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_an_error_surfaces_at_the_step_it_belongs_to(data):
    sampler = BucketSampler(data, 2, seed=3)
    first = {draw.example_index for draw in sampler.draw(0)}

    def latents(example, view):
        if example.index not in first:
            raise DataError("gone")
        return torch.zeros(1, 1, 1)

    failing = next(step for step in range(10) if {d.example_index for d in sampler.draw(step)} - first)
    with Loader(data, sampler, latents, lambda caption: torch.zeros(1, 1)) as loader:
        for step in range(failing):
            loader.batch_at(step)
        with pytest.raises(DataError, match="gone"):
            loader.batch_at(failing)
        assert loader.batch_at(0).entry_indices == tuple(draw.example_index for draw in sampler.draw(0))


def test_a_vanished_cache_file_is_told_with_its_remedy(data, latent_cache, text_cache):
    example = data.examples[0]
    latent_cache.path(example_key(example, View(), "vae")).unlink()
    with pytest.raises(DataError, match="no longer in the cache") as caught:
        cached_latents(latent_cache, "vae")(example, View())
    assert str(example.image.path) in caught.value.message
    assert "slipstream resume" in caught.value.fix
    text_cache.path(text_key("", "qwen")).unlink()
    with pytest.raises(DataError, match="no longer in the cache"):
        cached_features(text_cache, "qwen")("")


def test_what_is_in_memory_is_not_read_again_and_the_memory_is_bounded(data, latent_cache):
    square = [example for example in data.examples if example.bucket.width == 64]
    num_bytes = 3 * 8 * 8 * 4
    latents = cached_latents(latent_cache, "vae", keep_in_memory_gib=2.5 * num_bytes / 2**30)
    before = [latents(example, View()) for example in square]
    for example in square:
        latent_cache.path(example_key(example, View(), "vae")).unlink()
    for example, kept in zip(square[:2], before, strict=False):
        assert torch.equal(latents(example, View()), kept)
    for example in square[2:]:
        with pytest.raises(DataError):
            latents(example, View())


def test_a_kept_caption_has_one_tensor_in_all_threads(data, text_cache, monkeypatch):
    together, read = threading.Barrier(4), []

    def slow(cache, key):
        together.wait(10)  # all have missed it before one has it
        read.append(key)
        return get(cache, key)

    get = TensorCache.get
    monkeypatch.setattr(TensorCache, "get", slow)
    features = cached_features(text_cache, "qwen")
    with ThreadPoolExecutor(4) as pool:
        tensors = list(pool.map(lambda _: features("caption 64 0"), range(4)))
    assert len(read) == 4
    assert all(tensor is tensors[0] for tensor in tensors)
    assert features("caption 64 0") is tensors[0]
    assert len(read) == 4


def test_features_beyond_the_memory_are_read_anew_and_those_within_stay(text_cache):
    num_bytes = encode_texts(["caption 64 0"])[0].nbytes
    features = cached_features(text_cache, "qwen", keep_in_memory_gib=1.5 * num_bytes / 2**30)
    first, second = features("caption 64 0"), features("caption 64 1")
    assert features("caption 64 0") is first
    assert features("caption 64 1") is not second
    assert torch.equal(features("caption 64 1"), second)


def test_a_batch_has_the_kept_tensors_of_its_captions(loader):
    seen = {}
    for step in range(12):
        for text in loader.batch_at(step).texts:
            assert seen.setdefault(text.numpy().tobytes(), text) is text


def test_fresh_latents_that_are_not_finite_name_the_picture(data):
    with pytest.raises(DataError, match="not finite") as caught:
        fresh_latents(lambda pixels: pixels / 0 - pixels / 0)(data.examples[0], View())
    assert caught.value.where == str(data.examples[0].image.path)

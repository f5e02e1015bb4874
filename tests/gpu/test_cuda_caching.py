"""Caching and drawing on CUDA, where results arrive later than the calls that make them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream.data.cache import TensorCache, text_key
from slipstream.data.dataset import build_dataset
from slipstream.data.encode import encode_captions, encode_latents
from slipstream.data.loader import Loader, cached_features, cached_latents
from slipstream.data.pixel_batches import Pace, entries_of
from slipstream.data.sampler import BucketSampler
from slipstream.data.settings import DatasetSettings
from slipstream.models.z_image.family import ZImage, predictor
from slipstream.models.z_image.resolve import resolve_parts
from slipstream.previews.drawing import draw
from slipstream.previews.png import to_uint8
from slipstream.previews.render import Picture, Renderer, render

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]

CUDA = torch.device("cuda")


@pytest.fixture(scope="module")
def family():
    return ZImage(resolve_parts("tiny/turbo", "tiny/turbo"), CUDA, torch.bfloat16, torch.bfloat16)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(12):
        values = np.random.default_rng(number).integers(0, 256, (10, 12 + number % 2 * 4, 3), dtype=np.uint8)
        image = Image.fromarray(values).resize((16 * values.shape[1], 160), Image.Resampling.BICUBIC)
        image.save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a noto emoji of cat {'on a red sofa ' * number}")
    return build_dataset([DatasetSettings(folder, (128, 160))])


def ignore(done, total):
    pass


def test_latents_in_batches_are_those_one_by_one_to_rounding(family, data, tmp_path):
    codec, caches = family.load_codec(), []
    for name, pace in (("together", Pace(1 << 18, 4)), ("again", Pace(1 << 18, 2)), ("alone", Pace(1, 1))):
        caches.append(TensorCache(tmp_path / name, "latents"))
        encode_latents(data, codec.encode, "vae", caches[-1], ignore, CUDA, pace)
    for entry in entries_of(data, "vae"):
        together, again, alone = (cache.get(entry.key) for cache in caches)
        assert torch.equal(together, again)
        assert (together - alone).abs().mean() < 0.02 * alone.abs().mean()


def test_captions_in_batches_are_those_one_by_one_to_rounding(family, data, tmp_path):
    encoder = family.load_text_encoder()
    assert encoder.tokens_at_once > 0
    captions = data.captions()
    caches = []
    for name, way in (("together", encoder), ("alone", replace(encoder, tokens_at_once=0))):
        caches.append(TensorCache(tmp_path / name, "texts"))
        encode_captions(captions, way.encode, "qwen", caches[-1], ignore, way.batches)
    for caption in captions:
        together, alone = (cache.get(text_key(caption, "qwen")).float() for cache in caches)
        assert together.shape == alone.shape
        assert torch.nn.functional.cosine_similarity(together, alone, dim=-1).min() > 0.99


def test_batches_lie_in_pinned_memory(family, data, tmp_path):
    latents, texts = TensorCache(tmp_path / "c", "latents"), TensorCache(tmp_path / "c", "texts")
    encode_latents(data, family.load_codec().encode, "vae", latents, ignore, CUDA)
    encoder = family.load_text_encoder()
    encode_captions(data.captions(), encoder.encode, "qwen", texts, ignore, encoder.batches)
    sampler = BucketSampler(data, 2, seed=1)
    with Loader(data, sampler, cached_latents(latents, "vae"), cached_features(texts, "qwen")) as loader:
        assert loader.batch_at(0).latents_BCHW.is_pinned()


def test_what_is_drawn_into_files_is_what_is_rendered(family, tiny):
    renderer = Renderer(
        predict=predictor(family.load_transformer()), decode=family.load_codec().decode, features=tiny.features,
        shift_at=family.load_shift().at, device=CUDA, max_batch=2,
    )  # fmt: skip
    wanted = [Picture("a noto emoji of cat", "", 128, 128, seed, 8, 0.0) for seed in range(5)]
    told, files = [], {}
    drawn = list(draw(renderer, wanted, lambda number, image: files.update({number: image.clone()}), told.append))
    assert sorted(drawn) == [0, 1, 2, 3, 4]
    assert len(told) == 3 * 8
    for number, image in render(renderer, wanted):
        difference = to_uint8(image).cpu().int() - files[number].int()
        assert difference.abs().float().mean() < 0.5

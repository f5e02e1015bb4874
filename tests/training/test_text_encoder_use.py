"""The text encoder cached, kept and unloaded: the same features and batches, or the trigger word alone."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from slipstream.config.run_config import parse_config
from slipstream.data.loader import Loader
from slipstream.runs.layout import RunDir
from slipstream.training.build import make_reporter
from slipstream.training.setting import settle
from slipstream.training.stages import prepare_features

CAPTIONS = ("a [trigger] emoji of fox", "a noto emoji of cat", "")


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, caption in enumerate(CAPTIONS):
        Image.new("RGB", (64, 64), (80 * number, 20, 20)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(caption)
    return folder


@pytest.fixture
def trained(tmp_path, pictures):
    """`trained("cache", *overrides)`: the setting, caption features, 12 batches of texts, and the log."""

    def go(use, *overrides):
        mapping = {
            "job": {"name": "felt", "trigger_word": "felt", "output_dir": str(tmp_path / "runs")},
            "model": {"variant": "turbo", "name_or_path": "tiny/turbo"},
            "training": {"text_encoder": use, "steps": 3, "batch_size": 2, "drift": None},
            "datasets": [{"path": str(pictures), "resolutions": [64], "caption_dropout": 0.4}],
            "sample": {"prompts": ["a [trigger] emoji of sun"], "width": 64, "height": 64},
            "advanced": {"tensorboard": False},
        }
        config = parse_config(mapping, overrides)
        run = RunDir(tmp_path / f"run_{use}")
        run.path.mkdir(exist_ok=True)
        setting = settle(config)
        features = prepare_features(setting, make_reporter(config, run, lambda: False))
        latents = torch.zeros(1, 1, 1)
        with Loader(setting.dataset, setting.sampler(), lambda example, flipped: latents, features) as loader:
            texts = [text for step in range(12) for text in loader.batch_at(step).texts]
        return setting, features, texts, run.log.read_text()

    return go


def same(left, right):
    return len(left) == len(right) and all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_cached_features_equal_live_ones_bit_for_bit(trained):
    cached, live = trained("cache"), trained("keep")
    captions = cached[0].captions
    assert captions == live[0].captions
    assert set(captions) == {"a felt emoji of fox", "felt, a noto emoji of cat", "felt", "a felt emoji of sun"}
    assert same([cached[1](caption) for caption in captions], [live[1](caption) for caption in captions])
    assert same(cached[2], live[2])
    assert "text encoder freed" in cached[3]
    assert "stays loaded" in live[3]


def test_what_is_cached_is_not_encoded_again(trained):
    assert "4 needed, 4 encoded now" in trained("cache")[3]
    assert "4 needed, 0 encoded now" in trained("cache")[3]


def test_dropped_captions_are_exact_with_the_cache(trained):
    setting, features, texts, _ = trained("cache", "datasets.0.caption_dropout=1")
    assert same(texts, [features("felt")] * 24)
    assert setting.dataset.captions() == ["a felt emoji of fox", "felt", "felt, a noto emoji of cat"]


def test_unloaded_every_caption_is_the_trigger_word_and_prompts_are_themselves(trained):
    setting, features, texts, log = trained("unload")
    assert set(setting.captions) == {"felt", "a felt emoji of sun"}
    assert same(texts, [features("felt")] * 24)
    assert "every picture is trained on 'felt'" in log
    assert "text encoder freed" in log


def test_unloaded_without_a_trigger_word_every_caption_is_blank(trained):
    setting, features, texts, log = trained("unload", "job.trigger_word=''", "sample.prompts=[]")
    assert setting.captions == ("",)
    assert same(texts, [features("")] * 24)
    assert "trained on no words" in log


def test_the_plan_counts_captions_only_where_they_are_cached(trained):
    from slipstream.workflows.plan import make_plan

    plans = [make_plan(trained(use)[0].config) for use in ("cache", "keep")]
    assert [[cache.name for cache in plan.caches] for plan in plans] == [["latents", "captions"], ["latents"]]
